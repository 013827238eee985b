"""What a committee of teachers makes of their scores and their answers."""

from __future__ import annotations

import math

import pytest
from builder_samples import real_catalogue

from implementations.tasks.task import rouge_l
from implementations.teachers.committee import choose, elect, weights


def test_weights_are_log_odds_above_those_of_a_guess():
    """A guess is right in (2 + 1) of (10 + 2), a quarter; 8 of 10, and a guess, are 8.25 of 11: odds of 3."""
    shares = weights([[1.0] * 8 + [0.0] * 2, [0.5] * 10], [0.2] * 10)
    above = [math.log(3) - math.log(1 / 3), math.log(5.25 / 5.75) - math.log(1 / 3)]
    assert shares == pytest.approx([w / sum(above) for w in above])


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


def test_the_same_score_on_more_answers_weighs_more():
    many, few = weights([[1.0] * 50, [1.0] * 2], [0.0] * 50)
    assert many > few > 0 and math.isfinite(many)
    assert weights([[0.0] * 4, [0.0] * 8, [0.5] * 4], [0.1] * 8) == [0.0, 0.0, 1.0]


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


def test_agreement_of_wordings_is_no_quality_and_the_texts_say_so():
    """The vote is by ROUGE-L among the answers, which the glossary must not call a mistake without its difference."""
    wrong, right = "Aspirin 100 mg daily for the left knee.", "Takes ibuprofen because the right knee hurts."
    assert choose([wrong, wrong.replace("daily", "a day"), right], [0.3, 0.3, 0.4]) in (0, 1)
    catalogue = real_catalogue()
    task = catalogue.patterns["multi-teacher"].implementation.task
    assert "[ROUGE-L](term:rouge): likeness of wording, not quality against a reference" in " ".join(task.split())
    consensus, rouge = catalogue.terms["minimum-bayes-risk"], catalogue.terms["rouge"]
    assert any("(pattern:multi-teacher)" in mistake for mistake in consensus.common_mistakes)
    assert any("(term:minimum-bayes-risk)" in use for use in rouge.when_to_use)
