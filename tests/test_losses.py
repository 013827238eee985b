"""Every loss against its paper in float64, at its edges, and against the peers' published formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import loss_references as papers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from implementations.transfer.losses.attention import attention_mse, attention_transfer
from implementations.transfer.losses.classification import bernoulli_kl, soft_classes, soft_labels
from implementations.transfer.losses.cross_tokenizer import uld
from implementations.transfer.losses.divergence import forward_kl, generalized_jsd, reverse_kl
from implementations.transfer.losses.hidden import HiddenStateLoss, hidden_cosine, hidden_mse
from implementations.transfer.losses.mixture import mixture
from implementations.transfer.losses.relational import rkd_angle, rkd_distance
from implementations.transfer.losses.relations import relation_kl
from implementations.transfer.losses.sampled import draw, sampled_cross_entropy
from implementations.transfer.losses.top_k import top_k_kl

RELATIVE, ABSOLUTE = 1e-5, 2e-6  # of float32 against float64; the second where terms of about 1 cancel


def top_k_of(teacher: Tensor, k: int, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """What a cache holds of the teacher: ids, log-probabilities, and the mass of the others summed in float64."""
    log_probs, ids = (teacher.double() / temperature).log_softmax(-1).sort(-1, descending=True)
    dtype = torch.promote_types(teacher.dtype, torch.float32)
    return ids[:, :k], log_probs[:, :k].to(dtype), log_probs[:, k:].exp().sum(-1).to(dtype)


def top_k(student: Tensor, teacher: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    return top_k_kl(student, *top_k_of(teacher, k, temperature), temperature)


def draws_of(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two ids a row, the second of them twice, with weights that do not add up to 1."""
    ids = teacher.argsort(-1)[:, [0, -1, -1]]
    return ids, torch.tensor([0.3, 0.5, 0.1], device=teacher.device).expand(ids.shape)


def sampled(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    return sampled_cross_entropy(student, *draws_of(teacher), temperature)


def sampled_reference(student, teacher, temperature=1.0):
    ids, weights = draws_of(torch.tensor(teacher))
    return papers.sampled_cross_entropy(student, ids.tolist(), weights.double().tolist(), temperature)


def relation(student: Tensor, teacher: Tensor, mask: Tensor, **options) -> Tensor:
    return relation_kl((student[:, 0], student[:, 1]), (teacher[:, 0], teacher[:, 1]), mask, **options)


def relation_reference(student, teacher, mask, **options):
    return papers.relation_kl((student[:, 0], student[:, 1]), (teacher[:, 0], teacher[:, 1]), mask, **options)


Arrays = tuple[np.ndarray, ...]


def logits(rng: np.random.Generator, n: int, size: int, scale: float) -> Arrays:
    return tuple(rng.normal(0, scale, (n, size)) for _ in range(2))


def unequal(rng: np.random.Generator, n: int, size: int, scale: float) -> Arrays:
    """Another length and another vocabulary on each side."""
    return rng.normal(0, scale, (n, size)), rng.normal(0, scale, (n + 2, size + 3))


def padding(rng: np.random.Generator, n: int, t: int) -> np.ndarray:
    """(n, t), True at a first or last stretch of at least one token."""
    mask = np.zeros((n, t), bool)
    for row in mask:
        row[: rng.integers(1, t + 1)] = True
    return mask if rng.integers(2) else mask[:, ::-1].copy()


def maps(
    rng: np.random.Generator, n: int, t: int, scale: float, heads: tuple[int, int], causal: bool = False
) -> Arrays:
    student, teacher = (rng.normal(0, scale, (n, h, t, t)) for h in heads)
    if causal:
        teacher[..., np.triu(np.ones((t, t), bool), 1)] = -np.inf
    return student, teacher, padding(rng, n, t)


def states(rng: np.random.Generator, n: int, t: int, scale: float) -> Arrays:
    """Two vectors of 4 a token for the student, of 8 for the teacher."""
    return rng.normal(0, scale, (n, 2, t, 4)), rng.normal(0, scale, (n, 2, t, 8)), padding(rng, n, t)


@dataclass(frozen=True)
class Case:
    """A loss as a function of student, teacher and, for sequences, a mask; and the same from its paper."""

    name: str
    loss: Callable[..., Tensor]
    paper: Callable[..., Sequence[float] | float]
    inputs: Callable[..., Arrays] = logits
    zero: bool = True  # of a teacher that is its own student

    def __str__(self) -> str:
        return self.name


def tempered(name: str, loss: Callable, paper: Callable, temperatures: Sequence[float], **options) -> list[Case]:
    return [
        Case(f"{name} T={t}", partial(loss, temperature=t), partial(paper, temperature=t), **options)
        for t in temperatures
    ]


TOKEN = [
    *tempered("forward KL", forward_kl, papers.forward_kl, [1, 0.5, 3]),
    *tempered("reverse KL", reverse_kl, papers.reverse_kl, [1, 0.5, 3]),
    *[
        case
        for beta in (0.1, 0.5, 0.9)
        for case in tempered(
            f"JSD({beta})", partial(generalized_jsd, beta=beta), partial(papers.generalized_jsd, beta=beta), [1, 3]
        )
    ],
    *[
        case
        for k in (1, 3)
        for case in tempered(f"top {k}", partial(top_k, k=k), partial(papers.top_k_kl, k=k), [1, 3])
    ],
    *tempered("sampled", sampled, sampled_reference, [1, 3], zero=False),
    *tempered("Bernoulli KL", bernoulli_kl, papers.bernoulli_kl, [1, 3]),
    *tempered("ULD", uld, papers.uld, [1, 3], inputs=unequal, zero=False),
    Case("hidden MSE", hidden_mse, papers.hidden_mse),
    Case("hidden cosine", hidden_cosine, papers.hidden_cosine),
]
SEQUENCE = [
    Case("attention transfer", attention_transfer, papers.attention_transfer, partial(maps, heads=(2, 3)), zero=False),
    Case("attention MSE", attention_mse, papers.attention_mse, partial(maps, heads=(2, 2))),
    Case("causal MSE", attention_mse, papers.attention_mse, partial(maps, heads=(2, 2), causal=True), zero=False),
    *[
        Case(f"relations {o}", partial(relation, **o), partial(relation_reference, **o), states, zero=False)
        for o in ({"heads": 1}, {"heads": 2}, {"heads": 2, "causal": True})
    ],
]
BATCH = [Case("RKD distance", rkd_distance, papers.rkd_distance), Case("RKD angle", rkd_angle, papers.rkd_angle)]
EVERY = [*TOKEN, *SEQUENCE, *BATCH]

every = pytest.mark.parametrize("case", EVERY, ids=str)
examples = settings(max_examples=8, deadline=None, derandomize=True)


def tensors(arrays: Arrays, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Student and teacher in ``dtype``, the student a leaf with gradient; the mask as it is."""
    student, teacher, *mask = (torch.from_numpy(a) for a in arrays)
    return [student.to(dtype).requires_grad_(), teacher.to(dtype), *mask]


def drawn(case: Case, seed: int = 0, n: int = 4, size: int = 5, scale: float = 2.0) -> Arrays:
    return case.inputs(np.random.default_rng(seed), n, size, scale)


def gradient(value: Tensor, student: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), student)[0]


def close(ours: Tensor, theirs, relative: float = RELATIVE, absolute: float = ABSOLUTE) -> None:
    theirs = torch.as_tensor(theirs, dtype=torch.float64)
    torch.testing.assert_close(ours.detach().double(), theirs, rtol=relative, atol=absolute)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tensors of a few numbers are not worth a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@every
@examples
@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(4, 9), st.sampled_from([0.5, 2.0, 8.0]))
def test_the_value_is_the_papers(case, seed, n, size, scale):
    arrays = [a.astype(np.float32) if a.dtype != bool else a for a in drawn(case, seed, n, size, scale)]
    value = case.loss(*tensors(arrays, torch.float32))
    assert value.dtype == torch.float32 and value.requires_grad
    close(value, case.paper(*(a.astype(np.float64) if a.dtype != bool else a for a in arrays)))


@every
def test_the_gradient_is_that_of_the_value(case):
    student, *rest = tensors(drawn(case, n=3, size=4))
    assert torch.autograd.gradcheck(lambda s: case.loss(s, *rest), student)


@every
def test_gradients_in_float32_are_those_in_float64(case):
    arrays = [a.astype(np.float32) if a.dtype != bool else a for a in drawn(case, n=6)]
    single, double = (tensors(arrays, dtype) for dtype in (torch.float32, torch.float64))
    close(gradient(case.loss(*single), single[0]), gradient(case.loss(*double), double[0]))


@every
def test_bfloat16_inputs_are_computed_in_float32(case):
    """Exactly as if they came in float32; and rounding the inputs alone costs at most 5%, or 0.05."""
    arrays = drawn(case, n=6)
    half = tensors(arrays, torch.bfloat16)
    value = case.loss(*half)
    upcast = [half[0].detach().float().requires_grad_(), half[1].float(), *half[2:]]
    assert value.dtype == torch.float32 and torch.equal(value, case.loss(*upcast))
    assert gradient(value, half[0]).isfinite().all()
    close(value, case.paper(*arrays), 0.05, 0.05)


@every
def test_autocast_changes_nothing(case):
    inputs = tensors(drawn(case), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        cast = case.loss(*inputs)
    assert torch.equal(cast, case.loss(*inputs))


@every
def test_no_gradient_flows_into_the_teacher(case):
    student, teacher, *mask = tensors(drawn(case), torch.float32)
    case.loss(student, teacher.requires_grad_(), *mask).sum().backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


@every
@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_or_no_items(case, n):
    """No token at all sums up to 0, with gradients of 0; few give what the formula gives."""
    arrays = drawn(case, n=n)
    inputs = tensors(arrays)
    value = case.loss(*inputs)
    slopes = gradient(value, inputs[0])
    assert slopes.shape == inputs[0].shape and slopes.isfinite().all()
    if n == 0 or (case in BATCH and n < (3 if case.loss is rkd_angle else 2)):
        close(value.sum(), 0.0, 0, 1e-30)
        close(slopes, torch.zeros_like(slopes), 0, 1e-15)
    else:
        close(value, case.paper(*arrays))


@pytest.mark.parametrize("case", [case for case in EVERY if case.zero], ids=str)
def test_a_teacher_that_is_its_own_student_costs_nothing(case):
    student, _, *mask = tensors(drawn(case), torch.float32)
    value = case.loss(student, student.detach().clone(), *mask)
    close(value, torch.zeros_like(value))
    close(gradient(value, student), torch.zeros_like(student))


@every
def test_the_order_of_the_items_does_not_matter(case):
    student, teacher, *mask = tensors(drawn(case, n=6))
    teacher = teacher[:6]  # the longer one, of ULD
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    value = case.loss(student, teacher, *mask)
    permuted = case.loss(student[order], teacher[order], *(m[order] for m in mask))
    close(permuted, value[order] if value.dim() else value, 1e-12, 1e-12)


@pytest.mark.parametrize("case", [*TOKEN, *SEQUENCE], ids=str)
@examples
@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_masked_items_change_nothing(case, kept):
    """Selecting before the loss is selecting after it: an item knows nothing of the others, masked ones included."""
    student, teacher, *mask = tensors(drawn(case, n=6))
    teacher, kept = teacher[:6], torch.tensor(kept)
    selected = case.loss(student[kept], teacher[kept], *(m[kept] for m in mask))
    close(selected, case.loss(student, teacher, *mask)[kept].detach(), 1e-12, 1e-12)


# Sequences


@pytest.mark.parametrize("case", SEQUENCE, ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(case, side):
    student, teacher, mask = tensors(drawn(case))
    value = case.loss(student, teacher, mask)
    more = (2, 0) if side == "left" else (0, 2)
    rows, columns = (more, (0, 0)) if case.inputs is states else (more, more)
    padded = [
        torch.nn.functional.pad(x.detach(), (*(columns if case.inputs is not states else (0, 0)), *rows), value=7.0)
        for x in (student, teacher)
    ]
    wide = padded[0].requires_grad_()
    longer = case.loss(wide, padded[1], torch.nn.functional.pad(mask, more))
    close(longer, value.detach(), 1e-12, 1e-12)
    assert gradient(longer, wide).abs().sum().item() == pytest.approx(gradient(value, student).abs().sum().item())


@pytest.mark.parametrize("case", SEQUENCE, ids=str)
def test_a_sequence_of_padding_alone_costs_nothing(case):
    student, teacher, mask = tensors(drawn(case))
    mask[1] = False
    value = case.loss(student, teacher, mask)
    slopes = gradient(value, student)
    assert value[1] == 0 and not slopes[1].any() and slopes[0].any() and slopes.isfinite().all()


@pytest.mark.parametrize("case", [case for case in SEQUENCE if "causal" not in case.name], ids=str)
def test_the_order_of_the_tokens_does_not_matter(case):
    student, teacher, mask = tensors(drawn(case))
    order = torch.tensor([2, 4, 0, 3, 1])
    permuted = [x[..., order, :] for x in (student, teacher)]
    if case.inputs is not states:
        permuted = [x[..., order] for x in permuted]
    close(case.loss(*permuted, mask[:, order]), case.loss(student, teacher, mask).detach(), 1e-12, 1e-12)


@pytest.mark.parametrize("loss", [attention_transfer, attention_mse])
def test_equal_maps_cost_nothing(loss):
    student, _, mask = tensors(maps(np.random.default_rng(0), 2, 4, 1.0, (2, 2)), torch.float32)
    close(loss(student, student.detach(), mask), torch.zeros(2))


def test_equal_relations_cost_nothing():
    student, _, mask = tensors(states(np.random.default_rng(0), 2, 4, 1.0), torch.float32)
    close(relation(student, student.detach(), mask, heads=2), torch.zeros(2))


# Entries that cannot occur

NEVER = -torch.inf
LIMITED = {  # losses that stay finite when one of the models gives an entry, not among the teacher's first, no chance
    "both": ["forward", "reverse", "JSD", "top", "Bernoulli", "ULD"],
    "teacher": ["forward", "JSD", "top", "Bernoulli", "ULD"],
    "student": ["reverse", "JSD", "ULD"],
}


@pytest.mark.parametrize(
    ("who", "case"),
    [(who, case) for who, names in LIMITED.items() for case in TOKEN if case.name.startswith(tuple(names))],
    ids=str,
)
def test_a_logit_of_minus_infinity_is_the_limit_of_low_ones(who, case):
    """Value and gradient are those of a logit so low that its probability is some 1e-200."""
    arrays = drawn(case)
    slopes, values = [], []
    for low in (NEVER, -500.0 * 3):
        student, teacher = (a.copy() for a in arrays)
        for name, side in (("student", student), ("teacher", teacher)):
            side[:, 1] = low if who in ("both", name) else -3.0
        inputs = tensors((student, teacher))
        values.append(case.loss(*inputs))
        slopes.append(gradient(values[-1], inputs[0]))
    close(values[0], values[1].detach(), 1e-9, 1e-9)
    close(slopes[0], slopes[1], 1e-9, 1e-9)


@pytest.mark.parametrize("case", [c for c in TOKEN if "hidden" not in c.name and "Bernoulli" not in c.name], ids=str)
def test_padding_rows_of_the_vocabulary_change_nothing(case):
    student, teacher = tensors(drawn(case), torch.float32)
    wider = [torch.nn.functional.pad(x, (0, 3), value=NEVER) for x in (student, teacher)]
    value = (
        case.loss(*wider)
        if not case.name.startswith("sampled")
        else sampled_cross_entropy(wider[0], *draws_of(teacher), case.loss.keywords["temperature"])
    )
    close(value, case.loss(student, teacher).detach())
    assert gradient(value, student).isfinite().all()


def test_what_only_the_student_rules_out_is_infinitely_wrong_but_still_has_a_direction():
    student, teacher = tensors(logits(np.random.default_rng(0), 3, 5, 1.0), torch.float32)
    with torch.no_grad():
        student[:, 2] = NEVER
    value = forward_kl(student, teacher, temperature=2.0)
    assert value.isposinf().all()
    close(gradient(value, student), 2 * ((student / 2).softmax(-1) - (teacher / 2).softmax(-1)).detach())


# Divergences


def test_the_jsd_goes_to_forward_and_reverse_kl_at_its_ends():
    student, teacher = tensors(logits(np.random.default_rng(0), 5, 7, 1.0))
    close(generalized_jsd(student, teacher, 1e-7) / 1e-7, forward_kl(student, teacher).detach(), 1e-5)
    close(generalized_jsd(student, teacher, 1 - 1e-7) / 1e-7, reverse_kl(student, teacher).detach(), 1e-5)
    close(generalized_jsd(student, teacher, 0.3), generalized_jsd(teacher, student, 0.7).detach(), 1e-12)


def test_the_pull_of_soft_targets_does_not_fade_with_the_temperature():
    """At high temperatures, T² times the gradient goes to (z − v) / V, whatever T: Hinton's eq. (4)."""
    student, teacher = tensors(logits(np.random.default_rng(0), 4, 6, 1.0))
    centred = [(x - x.mean(-1, keepdim=True)).detach() for x in (student, teacher)]
    for loss in (forward_kl, reverse_kl):
        for temperature in (1e3, 1e4):
            slope = gradient(loss(student, teacher, temperature), student)
            close(slope, (centred[0] - centred[1]) / 6, 0.01, 1e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_trl_says_the_same(beta, temperature, monkeypatch):
    """TRL leaves out T²; its β of 0 and 1 are the two KL divergences."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    gkd = pytest.importorskip("trl.experimental.gkd", reason="needs pip install -e '.[peers]'")
    student, teacher = tensors(logits(np.random.default_rng(0), 40, 50, 2.0), torch.float32)
    ours = {0.0: forward_kl, 1.0: reverse_kl}.get(beta, partial(generalized_jsd, beta=beta))
    value = ours(student, teacher, temperature=temperature) / temperature**2
    labels = torch.arange(40).reshape(4, 10) % 3 - 1  # 0 or 1 at tokens
    labels[labels < 0] = -100
    theirs = gkd.GKDTrainer.generalized_jsd_loss(
        student.reshape(4, 10, 50), teacher.reshape(4, 10, 50), labels, beta, temperature
    )
    mean = value[labels.flatten() != -100].mean()
    close(mean, theirs.detach())
    close(gradient(mean, student), gradient(theirs, student), absolute=1e-8)


# Top k


def test_top_k_is_a_lower_bound_that_rises_to_the_full_divergence():
    for seed in range(5):
        student, teacher = tensors(logits(np.random.default_rng(seed), 8, 12, 2.0))
        values = torch.stack([top_k(student, teacher, k) for k in range(13)])
        assert (values.diff(dim=0) > -1e-12).all() and (values[0].abs() < 1e-12).all()
        full = forward_kl(student, teacher)
        close(values[12], full.detach(), 1e-12)
        close(gradient(values[12], student), gradient(full, student), 1e-9, 1e-12)
        assert (values[3] < 0.99 * full).any()


def test_a_tail_in_the_teachers_proportions_costs_nothing_more():
    _, teacher = tensors(logits(np.random.default_rng(0), 4, 9, 1.0))
    student = teacher.clone()
    student.scatter_add_(1, teacher.topk(3).indices, torch.randn(4, 3, dtype=torch.float64))
    close(top_k(student, teacher, 3), forward_kl(student, teacher), 1e-12)


def test_distillkits_published_formula_says_the_same():
    student, teacher = tensors(logits(np.random.default_rng(0), 20, 30, 2.0), torch.float32)
    for k in (1, 5, 20):
        close(top_k(student, teacher, k), papers.published_symmetric_uniform(student.tolist(), teacher.tolist(), k))


def test_a_student_that_is_sure_of_the_top_k_still_has_a_finite_gradient():
    """The student's tail is 1e-30 of its mass: 1 − Q(K) would be 0 in float32, and its logarithm −inf."""
    arrays = np.zeros((1, 6)), np.array([[3.0, 2, 0, 0, 0, 0]])
    arrays[0][0, :2] = 69
    single, double = (tensors(arrays, dtype) for dtype in (torch.float32, torch.float64))
    values = [top_k(*inputs, 2) for inputs in (single, double)]
    close(values[0], values[1].detach())
    close(gradient(values[0], single[0]), gradient(values[1], double[0]))


def test_ids_that_fill_up_a_row_count_for_nothing():
    """k may then even be above V."""
    student, teacher = tensors(logits(np.random.default_rng(0), 4, 5, 2.0), torch.float32)
    ids, log_probs, tail = top_k_of(teacher, 5, 1.0)
    filled = torch.cat([ids, ids[:, :2]], 1), torch.cat([log_probs, torch.full((4, 2), NEVER)], 1), tail - 1e-7
    value = top_k_kl(student, *filled)
    close(value, forward_kl(student, teacher).detach())
    assert gradient(value, student).isfinite().all()


def test_outside_the_top_k_may_be_nothing_that_can_occur():
    """k covers all but the padding rows of the vocabulary: Q(rest) is 0, as P(rest) is."""
    student, teacher = tensors(logits(np.random.default_rng(0), 4, 5, 2.0), torch.float32)
    wider = torch.nn.functional.pad(student.detach(), (0, 3), value=NEVER).requires_grad_()
    value, full = top_k_kl(wider, *top_k_of(teacher, 5, 1.0)), forward_kl(student, teacher)
    close(value, full.detach())
    close(gradient(value, wider), torch.nn.functional.pad(gradient(full, student), (0, 3)))


def test_ids_may_come_packed():
    student, teacher = tensors(logits(np.random.default_rng(0), 4, 9, 2.0), torch.float32)
    ids, log_probs, tail = top_k_of(teacher, 4, 1.0)
    for dtype in (torch.int32, torch.uint16):
        packed = top_k_kl(student, ids.to(dtype), log_probs.half(), tail.half())
        close(packed, top_k(student, teacher, 4).detach(), 1e-2, 1e-2)


# Random sampling

STANDARD_ERRORS = 5  # a true expectation is further off once in 1.7 million


@pytest.mark.parametrize("exponent", [1.0, 0.7, 1.5])
def test_draws_are_an_unbiased_estimate_of_cross_entropy_and_of_the_gradient(exponent):
    """The mean over 40,000 independent sets of draws is within five standard errors, in every entry."""
    n, rounds, temperature = 40_000, 6, 1.5
    student, teacher = tensors(logits(np.random.default_rng(1), 1, 8, 1.0), torch.float32)
    ids, weights = draw(teacher.expand(n, -1), rounds, temperature, exponent, torch.Generator().manual_seed(0))
    assert ids.shape == weights.shape == (n, rounds) and (exponent != 1) == bool(weights.std() > 1e-6)
    rows = student.detach().expand(n, -1).clone().requires_grad_()
    values = sampled_cross_entropy(rows, ids, weights, temperature)
    slopes = gradient(values, rows)
    p, log_q = (teacher / temperature).softmax(-1), (student / temperature).log_softmax(-1)
    exact = -(temperature**2) * (p * log_q).sum()
    assert abs(values.mean() - exact) < STANDARD_ERRORS * values.std() / n**0.5
    off = slopes.mean(0) - gradient(forward_kl(student, teacher, temperature), student)[0]
    assert (off.abs() < STANDARD_ERRORS * slopes.std(0) / n**0.5).all()


def test_every_weight_is_one_share_when_drawn_from_the_teacher_itself():
    _, teacher = tensors(logits(np.random.default_rng(0), 3, 9, 4.0), torch.bfloat16)
    ids, weights = draw(teacher, 50)
    assert torch.equal(weights, torch.full((3, 50), 1 / 50))
    assert ids.dtype == torch.int64 and ids.min() >= 0 and ids.max() < 9


def test_a_tail_of_tiny_probabilities_is_drawn_as_often_as_it_should_be():
    """300,000 entries of 8.7e-8, about one rounding step of a float32 sum near 1: together 2.6%."""
    teacher = torch.cat([torch.tensor([0.9739]), torch.full((300_000,), 8.7e-8)]).log()
    ids, _ = draw(teacher[None], 400_000, generator=torch.Generator().manual_seed(0))
    assert (ids > 0).double().mean().item() == pytest.approx(0.0261, rel=0.05)


def test_what_the_teacher_rules_out_is_never_drawn():
    teacher = torch.tensor([[0.0, NEVER, 1.0, NEVER]])
    ids, weights = draw(teacher, 1000, exponent=0.5)
    assert set(ids.unique().tolist()) == {0, 2} and weights.isfinite().all()


def test_no_rows_no_draws():
    ids, weights = draw(torch.zeros(0, 4), 7)
    assert ids.shape == weights.shape == (0, 7)


def test_merged_draws_cost_what_single_ones_do_and_weight_0_fills_up():
    student = torch.tensor([[0.5, NEVER, 1.0, 0.0]], requires_grad=True)
    single = sampled_cross_entropy(student, torch.tensor([[2, 0, 2]]), torch.full((1, 3), 1 / 3))
    merged = sampled_cross_entropy(student, torch.tensor([[0, 2, 1]]), torch.tensor([[1 / 3, 2 / 3, 0]]))
    close(merged, single.detach())
    assert gradient(merged, student).isfinite().all()


# Mixtures


def test_a_mixture_keeps_both_terms():
    hard, soft = torch.tensor([1.0, 2.0]), torch.tensor([10.0, 30.0])
    terms = mixture(hard, soft, 0.25)
    close(terms.total, [7.75, 23.0])
    assert torch.equal(terms.cross_entropy, hard) and torch.equal(terms.distillation, soft)


# Hidden states


def test_hidden_states_are_projected_where_sizes_differ_and_compared_by_the_map():
    rng = torch.Generator().manual_seed(0)
    student = [torch.randn(6, 3, generator=rng) for _ in range(3)]
    teacher = [torch.randn(6, 4, generator=rng) for _ in range(5)]
    loss = HiddenStateLoss({0: 0, 2: 4}, 3, 4)
    first, second = (p.weight for p in loss.projections)
    expected = ((student[0] @ first.T - teacher[0]) ** 2).mean(-1) + ((student[2] @ second.T - teacher[4]) ** 2).mean(
        -1
    )
    value = loss(student, teacher)
    close(value, expected.detach())
    value.sum().backward()
    assert first.grad.any() and second.grad.any() and len(list(loss.parameters())) == 2
    same = HiddenStateLoss({1: 1}, 4, 4, hidden_cosine)
    close(same(teacher, teacher).detach(), torch.zeros(6))  # where sizes agree, the projection begins as the identity


@pytest.mark.parametrize("layers", [{3: 0}, {0: 5}])
def test_a_layer_that_is_not_there_is_refused(layers):
    with pytest.raises(ValueError, match="map layers that both have"):
        HiddenStateLoss(layers, 4, 4)([torch.zeros(1, 4)] * 3, [torch.zeros(1, 4)] * 5)


# Relations of a batch


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
def test_a_turned_moved_and_scaled_embedding_has_the_same_relations(loss):
    teacher = torch.randn(7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    student = 3 * torch.nn.functional.pad(teacher, (0, 2)) @ turn + 5
    assert loss(student, teacher) == pytest.approx(0, abs=1e-12)
    assert loss(student + student.flip(0) ** 2, teacher) > 1e-3


@pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])
def test_two_items_on_one_spot_leave_the_gradient_finite(loss):
    student, teacher = tensors(logits(np.random.default_rng(0), 5, 3, 1.0), torch.float32)
    with torch.no_grad():
        student[1] = student[0]
    assert gradient(loss(student, teacher), student).abs().max() < 10
    everything = torch.ones(4, 3, requires_grad=True)
    value = loss(everything, torch.ones(4, 3))
    assert value == 0 and gradient(value, everything).isfinite().all()


# Different tokenizers


def test_trls_uld_says_the_same(monkeypatch):
    """TRL compares the probabilities at the labelled positions, sequence by sequence, and averages twice."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    gold = pytest.importorskip("trl.experimental.gold.gold_trainer", reason="needs pip install -e '.[peers]'")
    from trl.experimental.gold import GOLDConfig

    config = GOLDConfig(
        use_extended_uld=False,
        uld_crossentropy_weight=0.0,
        uld_skip_student_eos=False,
        uld_skip_teacher_eos=False,
        use_cpu=True,
        bf16=False,
    )
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 11, generator=generator), torch.randn(2, 9, 8, generator=generator)
    student_labels, teacher_labels = torch.full((2, 7), -100), torch.full((2, 9), -100)
    student_labels[0, 2:6], student_labels[1, 3:7], teacher_labels[0, 4:7], teacher_labels[1, 2:9] = 1, 1, 1, 1
    ids = torch.zeros(2, 9, dtype=torch.long)
    theirs = gold.ULDLoss(config)(student, teacher, student_labels, teacher_labels, ids[:, :7], ids)
    ours = [
        uld(student[i][s], teacher[i][t]).mean()
        for i, s, t in ((0, slice(2, 6), slice(4, 7)), (1, slice(3, 7), slice(2, 9)))
    ]
    close(torch.stack(ours).mean(), theirs)


def test_only_the_sorted_probabilities_count():
    logits = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    close(uld(logits, logits[:, torch.tensor([5, 0, 3, 1, 2, 4])]), torch.zeros(4))
    sure, unsure = torch.tensor([[100.0, 0, 0]]), torch.zeros(1, 4)
    close(uld(sure, unsure), [1.5])  # |1 − ¼| + 3 · ¼


# Classifiers


def test_soft_classes_mix_torchs_cross_entropy_with_the_divergence():
    student, teacher = tensors(logits(np.random.default_rng(0), 5, 4, 2.0))
    labels, weight = torch.tensor([0, 3, -100, 2, 1]), torch.tensor([1.0, 2, 3, 4]).double()
    terms = soft_classes(student, teacher, labels, 0.3, 4.0, weight=weight, label_smoothing=0.1)
    hard = cross_entropy(student, labels, weight=weight, label_smoothing=0.1, reduction="none")
    soft = papers.forward_kl(student.tolist(), teacher.tolist(), 4.0)
    close(terms.cross_entropy, hard.detach(), 1e-12)
    close(terms.total, 0.3 * hard.detach() + 0.7 * torch.tensor(soft), 1e-12)
    assert terms.cross_entropy[2] == 0 and terms.distillation[2] > 0


def test_soft_labels_mix_torchs_binary_cross_entropy_with_the_divergence_of_each_label():
    student, teacher = tensors(logits(np.random.default_rng(0), 5, 4, 2.0))
    labels, more = torch.randint(2, (5, 4), generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 2, 3, 4])
    terms = soft_labels(student, teacher, labels, 0.3, 4.0, pos_weight=more)
    p = student.sigmoid()
    hard = -(more * labels * p.log() + (1 - labels) * (1 - p).log()).sum(-1).detach()
    soft = torch.tensor(papers.bernoulli_kl(student.tolist(), teacher.tolist(), 4.0))
    close(terms.total, 0.3 * hard + 0.7 * soft, 1e-9)
    close(terms.distillation, soft, 1e-9)


# What does not fit

TWO, THREE = torch.zeros(2, 4), torch.zeros(3, 4)
IDS = torch.zeros(2, 3, dtype=torch.long)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: forward_kl(TWO[:1], TWO), "select the same tokens"),
        (lambda: reverse_kl(TWO, TWO[:, :3]), "common_vocabulary"),
        (lambda: bernoulli_kl(TWO, TWO[:, :1]), "select the same tokens"),
        (lambda: hidden_mse(TWO, TWO[:1]), "select the same tokens"),
        (lambda: hidden_cosine(TWO, TWO[:, :1]), "select the same tokens"),
        (lambda: forward_kl(TWO, TWO, 0), "temperature 0 .* above 0"),
        (lambda: uld(TWO, TWO, -1), "temperature -1 .* above 0"),
        (lambda: bernoulli_kl(TWO, TWO, 0), "temperature 0 .* above 0"),
        (lambda: draw(TWO, 3, 0), "temperature 0 .* above 0"),
        (lambda: draw(TWO, 3, exponent=0), "exponent 0 .* above 0"),
        (lambda: sampled_cross_entropy(TWO, IDS, IDS, 0), "temperature 0 .* above 0"),
        (lambda: sampled_cross_entropy(THREE, IDS, IDS), r"give \(N, V\)"),
        (lambda: sampled_cross_entropy(TWO, IDS, IDS[:, :2]), r"give \(N, V\)"),
        (lambda: top_k_kl(TWO, IDS, IDS, IDS[:, 0], float("nan")), "temperature nan .* above 0"),
        (lambda: top_k_kl(THREE, IDS, IDS, IDS[:, 0]), r"give \(N, V\)"),
        (lambda: top_k_kl(TWO, IDS, IDS[:1], IDS[:, 0]), r"give \(N, V\)"),
        (lambda: top_k_kl(TWO, IDS, IDS, IDS[:, :1]), r"give \(N, V\)"),
        (lambda: generalized_jsd(TWO, TWO, 0), "use forward_kl or reverse_kl"),
        (lambda: generalized_jsd(TWO, TWO, 1), "use forward_kl or reverse_kl"),
        (lambda: mixture(TWO[:, 0], TWO.sum(), 0.5), "per token, not reduced"),
        (lambda: mixture(TWO[:, 0], TWO[:, 0], 1.5), "from 0 to 1"),
        (lambda: HiddenStateLoss({}, 1, 1), "map at least one"),
        (lambda: attention_mse(torch.zeros(1, 2, 3, 3), torch.zeros(1, 4, 3, 3), torch.ones(1, 3)), "shape"),
        (lambda: relation_kl((TWO[None],) * 2, (TWO[None],) * 2, torch.ones(1, 2), 3), "multiple of the heads"),
        (lambda: relation_kl((TWO[None], TWO[None, :, :2]), (TWO[None],) * 2, torch.ones(1, 2), 2), "repeat grouped"),
        (lambda: rkd_distance(TWO, THREE), "the same batch"),
        (lambda: rkd_angle(TWO, THREE), "the same batch"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
