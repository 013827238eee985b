"""What --teacher and --student say of classifiers: what they are made of, what they read, and their labels.

Where no folder is named, an encoder reads texts (encoder.py) and a ResNet images (resnet.py). Imports no torch.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

from ..errors import InputError
from ..options import Options
from ..tasks.images import PREFIX
from ..tasks.task import Sizes, Task
from . import encoder, resnet

STARTS = {start.SPEC: start for start in (encoder, resnet)}
# A pass takes milliseconds, so that there can be more of everything than where a model writes.
SIZES = Sizes(gold=48, dev=0, transfer=960, heldout=240, unseen=120)
MOST_LABELS = 50  # different references from which the user's own prompts are taken to have none


def named(spec: str) -> tuple[ModuleType, int | None] | None:
    """What ``spec``, of --teacher or --student, names of STARTS, and how many of its layers; None for all of them."""
    match = re.fullmatch(rf"(?:local:)?({'|'.join(STARTS)})(?::(\d+))?", spec)
    return (STARTS[match[1]], int(match[2]) if match[2] else None) if match else None


def classifies(spec: str) -> bool:
    """Whether ``spec``, of --teacher or --student, names a classifier or what one is made of."""
    where = Path(spec.removeprefix("local:"))
    return named(spec) is not None or (where.is_dir() and encoder.kind(where) is not None)


def student_classifies(options: Options) -> bool:
    """Whether the student that ``options`` ask for is a classifier: itself, or as layers of a teacher that is one."""
    if options.student and not options.student.isdigit():
        return classifies(options.student)
    return any(spec.startswith("local:") and classifies(spec) for spec in options.teachers)


def start_of(task: Task) -> ModuleType:
    """What classifiers of ``task`` are made of where nobody says: what reads its prompts."""
    return resnet if has_images(task) else encoder


def has_images(task: Task) -> bool:
    """Whether the prompts of ``task`` are images."""
    items = getattr(task, "items", ())
    return getattr(task, "images", False) or (bool(items) and all(item.prompt.startswith(PREFIX) for item in items))


def labels_of(task: Task) -> tuple[str, ...]:
    """What a classifier of ``task`` may answer, in order. Raises InputError where answers are no labels."""
    if hasattr(task, "labels"):
        return task.labels
    found = sorted({item.reference for item in getattr(task, "items", ()) if item.reference})
    if 2 <= len(found) <= MOST_LABELS:
        return tuple(found)
    raise InputError(
        f"{task.title}: its answers are no labels, and a classifier gives nothing else; leave the encoder out, or take "
        "a task whose answers are one of a few, as --task email-moderation"
    )
