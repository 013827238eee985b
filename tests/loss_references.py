"""The losses again, in float64 and plain loops, written from the papers' formulas and not from the code under test."""

from __future__ import annotations

from math import acos, cos, exp, inf, log, sqrt

import numpy as np


def softmax(logits) -> list[float]:
    top = max(logits)
    weights = [exp(z - top) if z > -inf else 0.0 for z in logits]
    return [w / sum(weights) for w in weights]


def kl(p, q) -> float:
    """Σ p log(p / q): 0 where p is 0, infinite where only q is."""
    total = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            total += a * log(a / b) if b > 0 else inf
    return total


def _pairs(student, teacher, temperature):
    """(P, Q) of each row, the teacher's distribution first."""
    for s, t in zip(student, teacher, strict=True):
        yield softmax([z / temperature for z in t]), softmax([z / temperature for z in s])


def forward_kl(student, teacher, temperature=1.0):
    return [temperature**2 * kl(p, q) for p, q in _pairs(student, teacher, temperature)]


def reverse_kl(student, teacher, temperature=1.0):
    return [temperature**2 * kl(q, p) for p, q in _pairs(student, teacher, temperature)]


def generalized_jsd(student, teacher, beta, temperature=1.0):
    values = []
    for p, q in _pairs(student, teacher, temperature):
        m = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
        values.append(temperature**2 * (beta * kl(p, m) + (1 - beta) * kl(q, m)))
    return values


def top_k_kl(student, teacher, k, temperature=1.0):
    """KL of the distributions in which all but the teacher's k most probable entries are one entry."""
    values = []
    for p, q in _pairs(student, teacher, temperature):
        first = sorted(range(len(p)), key=lambda v: -p[v])[:k]
        rest = [v for v in range(len(p)) if v not in first]
        merged_p = [p[v] for v in first] + [sum(p[v] for v in rest)]
        merged_q = [q[v] for v in first] + [sum(q[v] for v in rest)]
        values.append(temperature**2 * kl(merged_p, merged_q))
    return values


def published_symmetric_uniform(student, teacher, k):
    """DistillKit's sparse KL, ``missing_probability_handling: symmetric_uniform``, at its temperature of 1.

    The mass missing from the k entries is 1 minus their sum on each side, and counts where the teacher's is above 1e-6.
    """
    values = []
    for p, q in _pairs(student, teacher, 1.0):
        kept = sorted(range(len(p)), key=lambda v: -p[v])[:k]
        value = sum(p[v] * (log(p[v]) - log(q[v])) for v in kept)
        missing_p, missing_q = 1 - sum(p[v] for v in kept), 1 - sum(q[v] for v in kept)
        if missing_p > 1e-6:
            value += missing_p * (log(missing_p) - log(max(missing_q, 1e-6)))
        values.append(value)
    return values


def sampled_cross_entropy(student, ids, weights, temperature=1.0):
    values = []
    for logits, row, shares in zip(student, ids, weights, strict=True):
        q = softmax([z / temperature for z in logits])
        values.append(-(temperature**2) * sum(w * log(q[v]) for v, w in zip(row, shares, strict=True)))
    return values


def bernoulli_kl(student, teacher, temperature=1.0):
    values = []
    for s, t in zip(student, teacher, strict=True):
        value = 0.0
        for a, b in zip(s, t, strict=True):
            p, q = softmax([b / temperature, 0]), softmax([a / temperature, 0])
            value += temperature**2 * kl(p, q)
        values.append(value)
    return values


def uld(student, teacher, temperature=1.0):
    values = []
    for s, t in zip(student, teacher, strict=False):
        p = sorted(softmax([z / temperature for z in t]), reverse=True)
        q = sorted(softmax([z / temperature for z in s]), reverse=True)
        size = max(len(p), len(q))
        p, q = p + [0.0] * (size - len(p)), q + [0.0] * (size - len(q))
        values.append(sum(abs(a - b) for a, b in zip(p, q, strict=True)))
    return values


def hidden_mse(student, teacher):
    return [
        sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s) for s, t in zip(student, teacher, strict=True)
    ]


def hidden_cosine(student, teacher):
    values = []
    for s, t in zip(student, teacher, strict=True):
        dot = sum(a * b for a, b in zip(s, t, strict=True))
        values.append(1 - dot / sqrt(sum(a * a for a in s)) / sqrt(sum(b * b for b in t)))
    return values


def attention_transfer(student, teacher, mask):
    """The squared distance of the unit vectors of Σ_h A_h², over the tokens alone."""
    values = []
    for s, t, real in zip(student, teacher, mask, strict=True):
        tokens = [i for i, is_token in enumerate(real) if is_token]
        maps = []
        for heads in (s, t):
            q = [sum(head[i][j] ** 2 for head in heads) for i in tokens for j in tokens]
            length = sqrt(sum(x * x for x in q))
            maps.append([x / length for x in q])
        values.append(sum((a - b) ** 2 for a, b in zip(*maps, strict=True)))
    return values


def attention_mse(student, teacher, mask):
    """The mean over heads of the MSE of each; entries of −inf are no entries."""
    values = []
    for s, t, real in zip(student, teacher, mask, strict=True):
        tokens = [i for i, is_token in enumerate(real) if is_token]
        per_head = []
        for ours, theirs in zip(s, t, strict=True):
            squares = [(ours[i][j] - theirs[i][j]) ** 2 for i in tokens for j in tokens if theirs[i][j] > -inf]
            per_head.append(sum(squares) / len(squares))
        values.append(sum(per_head) / len(per_head))
    return values


def relation_kl(student, teacher, mask, heads, causal=False):
    values = []
    for b, real in enumerate(mask):
        tokens = [i for i, is_token in enumerate(real) if is_token]
        total = 0.0
        for head in range(heads):
            for row in tokens:
                columns = [j for j in tokens if j <= row or not causal]
                relations = []
                for left, right in (teacher, student):
                    d = len(left[b][0]) // heads
                    x, ys = left[b][row][head * d : head * d + d], right[b]
                    scores = [np.dot(x, ys[j][head * d : head * d + d]) / sqrt(d) for j in columns]
                    relations.append(softmax(scores))
                total += kl(*relations)
        values.append(total / (heads * len(tokens)))
    return values


def huber(a, b) -> float:
    return 0.5 * (a - b) ** 2 if abs(a - b) < 1 else abs(a - b) - 0.5


def rkd_distance(student, teacher):
    n, relative = len(student), []
    for points in (student, teacher):
        distances = [sqrt(((points[i] - points[j]) ** 2).sum()) for i in range(n) for j in range(n) if i != j]
        mean = sum(distances) / len(distances)
        relative.append([d / mean for d in distances])
    return sum(huber(a, b) for a, b in zip(*relative, strict=True)) / len(relative[0])


def rkd_angle(student, teacher):
    n, cosines = len(student), []
    for points in (student, teacher):
        of_points = []
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    if len({i, j, k}) == 3:
                        u, v = points[i] - points[j], points[k] - points[j]
                        angle = acos(max(-1, min(1, np.dot(u, v) / sqrt(np.dot(u, u) * np.dot(v, v)))))
                        of_points.append(cos(angle))
        cosines.append(of_points)
    return sum(huber(a, b) for a, b in zip(*cosines, strict=True)) / len(cosines[0])
