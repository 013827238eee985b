"""Distillation from production logs: https://distillation-patterns.github.io/patterns/production-logs.html

The teacher serves production, and its platform's log holds what really was asked and answered: a transfer set that is
paid for. Nothing is asked again; what is new lies between the log and the training.

    distill run production-logs --logs LOGS --prompts gold.jsonl --teacher claude:MODEL   # your own, as MODEL answered
    distill run production-logs --logs LOGS --prompts gold.jsonl --teacher bedrock:MODEL --redact
    distill plan production-logs --logs LOGS --prompts gold.jsonl --teacher claude:MODEL  # what is in them, and saved
    distill run production-logs                                # the story: the embedded teacher serves and logs
    distill run production-logs --smoke                        # the same code, shrunk to a minute

Logs are files or folders of Bedrock's invocation logs, of OpenAI's and Anthropic's calls, of LangSmith's runs, or of
Vertex AI's request-response table (implementations/logs). gold.jsonl has experts' answers to some logged prompts: the
quarter of them that was logged last is held out, and what the log has from then on is not learnt from.

In the story, notes come in a skewed mix that drifts, some of them again; the teacher answers, and what its platform
would log is written down, mishaps included, and read. The second control is the same student on equally many notes
that were made up by hand, every condition alike: are logs any better than that, on the notes that came later?
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..logs.read import OF_PLATFORM, Tally, read
from ..logs.select import Selected, select, usable
from ..logs.serve import write_log
from ..options import Options
from ..record import ArmKind
from ..registry import PLATFORMS
from ..tasks.own_logs import OwnLogs
from ..teachers.teacher import Teacher
from .arms import Arms, Lesson, Outcome, Setup, Simpler

SIMPLER = Simpler("sequence-level", "Student on hand-made prompts")


def run(setup: Setup) -> Outcome:
    """Run every arm for every seed. Raises InputError, with everything earned kept, when answers are missing."""
    return _from_own_logs(setup) if isinstance(setup.task, OwnLogs) else _from_the_story(setup)


def from_logs(options: Options) -> OwnLogs:
    """The user's own logs as a task. Raises InputError where they, or what goes with them, cannot be used."""
    platform, _, model = options.teacher.partition(":")
    model = model.partition(":")[2] if platform == "langchain" else model  # which names the provider before it
    for wrong, message in (
        (options.prompts is None, "--logs goes with --prompts: experts' answers, at least 8, to some logged prompts"),
        (
            platform not in PLATFORMS or not model,
            f"--logs --teacher {options.teacher}: whose answers? give PLATFORM:MODEL with the model's name in the log",
        ),
    ):
        if wrong:
            raise InputError(message)
    return OwnLogs(
        [Path(path) for path in options.logs],
        options.logs_format,
        options.prompts,
        model,
        options.instruction or None,
        options.max_new_tokens,
        options.redact,
        cut_off=options.smoke,
    )


def _from_own_logs(setup: Setup) -> Outcome:
    # The log's answers are the teacher's: once they are in the ledger, whoever asks finds them there.
    setup.work.ledger.add(setup.teacher.identity, setup.task.answers())
    arms = Arms(setup)
    for _ in arms.seeds():
        teacher = arms.tuned_teacher()
        transfer = arms.transfer_set(teacher)
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_DISTILLED: Lesson(transfer),
            }
        )
    return replace(arms.outcome(teacher, student), logs=[setup.task.selected.measured])


def _from_the_story(setup: Setup) -> Outcome:
    arms = Arms(setup, SIMPLER)
    measured = []
    for _ in arms.seeds():
        # 1. The teacher that production will use: taught the task from the few answers that experts wrote.
        teacher = arms.tuned_teacher()

        # 2. It serves, and its platform logs. Of the log, learn what came before the held-out notes, each once.
        selected = _logged(arms, teacher)
        measured.append(selected.measured)

        # 3. Made up by hand: other notes, which the same teacher answers.
        by_hand = arms.transfer_set(teacher)

        # 4. Train the student on the newest of the log, and its controls: as many notes, same start, same steps.
        number = min(len(selected.pairs), len(by_hand))
        newest = [(call.prompt, call.answer) for call in selected.pairs[-number:]]
        student = arms.students(
            {
                ArmKind.STUDENT_GOLD: Lesson(arms.gold),
                ArmKind.STUDENT_SIMPLER: Lesson(by_hand[:number]),
                ArmKind.STUDENT_DISTILLED: Lesson(newest),
            }
        )
    return replace(arms.outcome(teacher, student), logs=measured)


def _logged(arms: Arms, teacher: Teacher) -> Selected:
    """What the log of this seed's production teaches. Its last notes are the held-out ones, answered already."""
    served, heldout = arms.splits.served, arms.splits.slices["heldout"]
    once = list({item.prompt: item for item in served}.values())
    answers = arms.collect("Serve production", teacher, once) + arms.ask("", teacher, heldout, "evaluate").answers
    by_prompt = {item.prompt: answer for item, answer in zip([*once, *heldout], answers, strict=True)}

    form = OF_PLATFORM[getattr(teacher, "platform", "local")]
    model = getattr(teacher, "model", teacher.name)
    path = arms.work.root / "logs" / f"{arms.task.name}-{form}-{arms.seed}.jsonl"
    rows = [(item, by_prompt[item.prompt]) for item in [*served, *heldout]]
    write_log(path, form, model, arms.task.instruction, rows)

    tally = Tally()
    calls = usable(read([path], form, tally), model, tally, cut_off=arms.setup.keep_truncated)
    prompts = {call.prompt for call in calls}
    return select(calls, [item.prompt for item in heldout if item.prompt in prompts], tally)
