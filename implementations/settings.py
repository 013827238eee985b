"""The settings of a run: what follows from the options. Imports no torch, so `distill plan` starts at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType

from .errors import InputError
from .options import Options
from .own_prompts import check_script, readable
from .recipes import arms
from .registry import RECIPES, TASKS
from .tasks.task import Item, Sizes, Task
from .tasks.user_prompts import UserPrompts
from .teachers import starts
from .transfer.config import TrainConfig

LATENCY_N, RECORD_LATENCY_N = 6, 30  # answers timed at batch 1
SERVING_BATCH, RECORD_SERVING_BATCH = 24, 48  # answers timed at once
RECORD_SEEDS = 3
SMOKE_TOKENS = 8
EVERYTHING = 10**9  # of the user's own rows
OWN_HELDOUT = 200  # of the user's own rows with a reference, at most
EPOCHS = 3  # over the user's own rows, at least
DEV = 16  # gold notes beyond --gold that choose the learning rate of a record


@dataclass(frozen=True)
class Plan:
    """The settings that follow from the options; equal plans are the same run."""

    sizes: Sizes
    seeds: list[int]
    teacher_training: TrainConfig
    student_training: TrainConfig
    rates: tuple[float, ...]
    latency_n: int
    serving_batch: int
    smoke: bool


def make_plan(options: Options, task: Task) -> Plan:
    """The story's settings; shrunk for --smoke, widened for --record, and as large as the user's own data."""
    sizes, teacher, student = arms.SIZES, arms.TEACHER_TRAINING, arms.STUDENT_TRAINING
    rates = arms.LEARNING_RATES
    start = starts.start_of(task)
    if starts.classifies(options.teacher):
        teacher = start.TEACHER_TRAINING
    if starts.student_classifies(options):
        sizes, student, rates = starts.SIZES, start.STUDENT_TRAINING, start.LEARNING_RATES
    if options.smoke:
        sizes, teacher, student = (
            arms.SMOKE_SIZES,
            replace(teacher, steps=2, batch=2),
            replace(student, steps=3, batch=4),
        )
    elif options.record:
        sizes = sizes._replace(dev=DEV)
    elif options.prompts:
        sizes = sizes._replace(gold=EVERYTHING, transfer=EVERYTHING, heldout=OWN_HELDOUT)
    if options.gold is not None:
        sizes = sizes._replace(gold=options.gold)
    if options.prompts and not options.smoke:
        drawn = task.splits(sizes, options.seed)
        teacher = replace(teacher, steps=max(teacher.steps, _steps(drawn.gold, teacher)))
        student = replace(student, steps=max(student.steps, _steps(drawn.transfer, student)))
    how_many = options.seeds or (RECORD_SEEDS if options.record else 1)
    return Plan(
        sizes=sizes,
        seeds=list(range(options.seed, options.seed + how_many)),
        teacher_training=teacher,
        student_training=student,
        rates=rates if options.record else (),
        latency_n=1 if options.smoke else RECORD_LATENCY_N if options.record else LATENCY_N,
        serving_batch=RECORD_SERVING_BATCH if options.record else SERVING_BATCH,
        smoke=options.smoke,
    )


def recipe_of(options: Options) -> ModuleType:
    """The module of the recipe, which has its ``run``."""
    return import_module(RECIPES[options.pattern].module)


def make_task(options: Options) -> Task:
    """A built-in task, or the user's own prompts or logs; a smoke run's answers are short.

    Raises InputError: prompts, logs or data that cannot be had.
    """
    if options.logs:
        task = _from_logs(options)
    elif options.prompts is None:
        task = story(options.pattern, options.task)
    else:
        with readable(options.prompts):
            task = UserPrompts(options.prompts, options.instruction, options.max_new_tokens)
        check_script(options.prompts, task.items)
    if options.smoke:
        task.max_new_tokens = min(task.max_new_tokens, SMOKE_TOKENS)
    return task


def _from_logs(options: Options) -> Task:
    recipe = recipe_of(options)
    if not hasattr(recipe, "from_logs"):
        raise InputError(f"--logs: {options.pattern} learns from no log; take production-logs, or leave it out")
    with readable(options.prompts, options.logs):
        task = recipe.from_logs(options)
    check_script(options.prompts, [*task.gold, *task.heldout])
    return task


def story(pattern: str, task: str | None = None) -> Task:
    """The built-in ``task``, or the one by which ``pattern`` is shown where the user chooses none.

    Raises InputError when its data cannot be had.
    """
    built_in = TASKS[task or RECIPES[pattern].task]
    name = "".join(word.capitalize() for word in built_in.slug.split("-"))
    return getattr(import_module(built_in.module), name)()


def _steps(items: list[Item], config: TrainConfig) -> int:
    return math.ceil(EPOCHS * len(items) / config.batch)
