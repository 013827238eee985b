"""Student first, teacher where it is unsure."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from implementations.evaluation.cascade import confidence, measure, passed_on, passed_on_by_halves
from implementations.evaluation.measure import ArmAnswers, Scoreboard
from implementations.record import ArmKind
from implementations.tasks.task import Item
from implementations.teachers.local import LocalTeacher, load
from implementations.teachers.teacher import Answer, Kind, Request
from implementations.transfer.chat import prompt_ids


def test_the_threshold_passes_on_the_share_that_was_asked_for():
    rng = np.random.default_rng(0)
    shares = [passed_on_by_halves(rng.normal(size=200), 0.3).mean() for _ in range(20)]
    assert np.mean(shares) == pytest.approx(0.3, abs=0.02)
    assert passed_on(np.array([-np.inf, 1.0, 5.0]), np.arange(11.0), 0.5).tolist() == [True, True, False]


def test_no_item_helps_to_fit_its_own_threshold():
    scores = np.random.default_rng(1).normal(size=40)
    marks = passed_on_by_halves(scores, 0.3)
    for item in range(40):
        moved = scores.copy()
        moved[item] = 100.0  # sure beyond doubt: nothing changes for the other items of its half
        same = np.arange(40) % 2 == item % 2
        same[item] = False
        assert (passed_on_by_halves(moved, 0.3)[same] == marks[same]).all()


class Scored:
    """A task whose answers are their own scores."""

    primary = "fact_f1"

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        return {"fact_f1": float(answer)}


def cascade(knows: float):
    """A student that is right half of the time, with a score that ``knows`` it more or less; the teacher is right."""
    rng = np.random.default_rng(2)
    right = rng.random((3, 200)) < 0.5
    scores = knows * right + rng.normal(size=right.shape) * 0.1
    deferred = np.array([passed_on_by_halves(of_seed, 0.3) for of_seed in scores])
    arms = {
        ArmKind.TEACHER_TUNED: np.ones_like(scores),
        ArmKind.STUDENT_DISTILLED: right,
        ArmKind.CASCADE: np.where(deferred, 1, right),
    }
    answers = [ArmAnswers(k, k, "student", {"heldout": v.astype(float).astype(str).tolist()}) for k, v in arms.items()]
    board = Scoreboard(Scored(), {"heldout": [Item(str(i), "") for i in range(200)]}, answers, ArmKind.TEACHER_TUNED)
    return measure(board, {"heldout": scores.tolist()}, {"heldout": deferred.tolist()})


def test_a_score_that_knows_beats_chance_and_one_that_does_not_is_seen_through():
    knowing, blind = cascade(1.0), cascade(0.0)
    assert knowing.added.low > 0.1 and blind.added.low < 0 < blind.added.high
    assert knowing.deferred["heldout"].value == pytest.approx(0.3, abs=0.03)
    shares = [point.share for point in knowing.curve]
    assert shares[0] == 0 and shares[-1] == 1
    for point in knowing.curve:
        assert point.at_random.value == pytest.approx(0.5 + 0.5 * point.share, abs=0.05)
        assert point.quality.value >= point.at_random.value - 1e-9
    assert knowing.curve[-1].quality.value == 1


def test_confidence_is_the_least_probable_token():
    answer = Answer("a b", Kind.COMPLETE, 1, 2, top_logprobs=((("a", -0.1), ("x", -3.0)), (("b", -0.7),)))
    assert confidence(answer) == -0.7
    assert confidence(Answer("", Kind.EMPTY, 1, 0)) == -np.inf


def test_log_probabilities_are_those_of_one_forward_pass(tiny):
    """What batched, padded generation kept, against the model read once over prompt and answer."""
    teacher = LocalTeacher(tiny, "tiny", "cpu")
    requests = [Request("say", prompt, 6, top_logprobs=3) for prompt in ("one", "a longer prompt than that one")]
    plain = [Request("say", request.prompt, 6) for request in requests]
    answers = {i: a for group in teacher.answer(requests) for i, a in group}
    assert {i: a.text for group in teacher.answer(plain) for i, a in group} == {i: a.text for i, a in answers.items()}
    model, tokenizer = load(tiny, "cpu", "float32")
    for i, answer in answers.items():
        assert len(answer.top_logprobs) == answer.completion_tokens
        ids = prompt_ids(tokenizer, "say", requests[i].prompt)
        for step in answer.top_logprobs:
            with torch.no_grad():
                true = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).topk(3)
            assert [pair[1] for pair in step] == pytest.approx(true.values.tolist(), abs=0.05)
            ids = [*ids, true.indices[0].item()]
