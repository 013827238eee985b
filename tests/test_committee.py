"""What a committee of teachers makes of their scores and their answers."""

from __future__ import annotations

import math

import pytest

from implementations.tasks.task import rouge_l
from implementations.teachers.committee import choose, elect, weights


def test_weights_are_log_odds_above_those_of_a_guess():
    """Laplace's rule: 8 of 10 is 9/12, so odds of 3; 5 of 10 is 1; 2 of 10 is 1/3."""
    eight, five, guess = [1.0] * 8 + [0.0] * 2, [0.5] * 10, [0.2] * 10
    shares = weights([eight, five], guess)
    above = [math.log(3) - math.log(1 / 3), math.log(1) - math.log(1 / 3)]
    assert shares == pytest.approx([w / sum(above) for w in above])
    assert shares == pytest.approx([2 / 3, 1 / 3])


def test_among_k_answers_a_guess_is_one_in_k():
    """With many scores the weight is log(p / (1 − p)) + log(K − 1), as in Zhu et al. 2009."""
    n, k = 10**6, 4
    first, second = ([1.0] * int(n * p) + [0.0] * int(n * (1 - p)) for p in (0.9, 0.6))
    guess = [1.0] * (n // k) + [0.0] * (n - n // k)
    expected = [math.log(p / (1 - p)) + math.log(k - 1) for p in (0.9, 0.6)]
    assert weights([first, second], guess) == pytest.approx([w / sum(expected) for w in expected], rel=1e-4)


def test_who_is_no_better_than_a_guess_has_no_vote():
    guess = [0.3] * 20
    assert weights([[0.9] * 20, [0.3] * 20, [0.1] * 20, []], guess) == [1.0, 0.0, 0.0, 0.0]
    assert weights([[0.3] * 20, [0.1] * 20], guess) == [0.5, 0.5]  # nobody is: all the same


def test_a_perfect_score_on_few_has_a_finite_weight_that_grows_with_their_number():
    few, many = (weights([[1.0] * n, [0.5] * n], [0.0] * n) for n in (2, 50))
    assert 0.5 < few[0] < 1 and few[0] == pytest.approx(many[0])  # twice the odds of chance, by symmetry
    assert weights([[1.0] * 50, [1.0] * 2], [0.0] * 50)[0] > 0.5


def test_the_answer_is_the_one_that_agrees_most_by_weight():
    answers = ["fever and cough", "fever and rash", "no complaint"]
    votes = [0.5, 0.3, 0.2]
    agreement = [sum(v * rouge_l(b, a) for v, b in zip(votes, answers, strict=True)) for a in answers]
    assert agreement == pytest.approx([0.5 + 0.3 * 2 / 3, 0.3 + 0.5 * 2 / 3, 0.2])
    assert choose(answers, votes) == 0
    assert choose(answers, [0.1, 0.3, 0.6]) == 2


def test_with_labels_it_is_a_weighted_vote():
    assert choose(["yes", "no", "no"], [0.4, 0.3, 0.3]) == 1
    assert choose(["yes", "no", "no"], [0.7, 0.15, 0.15]) == 0
    assert choose(["是", "否", "否"], [0.4, 0.3, 0.3]) == 1  # texts without a Latin word agree where they are equal


def test_of_two_the_heavier_wins_and_of_equals_the_first():
    assert choose(["one thing", "another thing"], [0.4, 0.6]) == 1
    assert choose(["one thing", "another thing"], [0.5, 0.5]) == 0


def test_an_empty_answer_abstains():
    assert choose(["", "b", "c c"], [0.9, 0.04, 0.06]) == 2
    assert choose(["", "b"], [1.0, 0.0]) == 1  # whoever has no vote may still be the only one who answered
    assert choose(["", ""], [0.5, 0.5]) is None
    assert elect([["a", "", ""], ["b", "b", ""]], [0.6, 0.4]) == [0, 1, None]
