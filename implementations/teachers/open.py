"""From what `--teacher` says to a teacher. Each platform's module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from ..errors import InputError
from ..options import Options
from ..registry import PLATFORMS
from . import terms
from .teacher import RemoteTeacher


def open_remote(spec: str) -> RemoteTeacher:
    """The teacher behind a platform. Raises InputError: unknown platform, missing package, no key."""
    slug, _, model = spec.partition(":")
    platform = PLATFORMS.get(slug)
    if platform is None or platform.module is None:
        known = ", ".join(["local:PATH", *(p.teacher for p in PLATFORMS.values() if p.module)])
        raise InputError(f"--teacher {spec}: no such platform here; give one of: {known}")
    if not model:
        raise InputError(f"--teacher {spec}: which model? give {platform.teacher}")
    return import_module(platform.module).open_teacher(model)


def check_remote(options: Options, teacher: RemoteTeacher) -> None:
    """Raise InputError when the prompts may not go there, or a limit on what they cost cannot be kept."""
    options.spending.check(teacher)
    if must_stay(options, teacher):
        raise InputError(
            f"--teacher {teacher.name}: your prompts would leave this machine; look at them with `distill plan`, then "
            "give --allow-cloud if they may (--redact replaces what looks like an identifier)"
        )


def must_stay(options: Options, teacher: RemoteTeacher) -> bool:
    """Whether the prompts may not go to ``teacher``.

    The built-in task is made up; the user's own prompts may be about people, and only the user knows.
    """
    return bool(options.prompts) and leaves_machine(teacher) and not options.allow_cloud


def notes(teacher: RemoteTeacher) -> list[str]:
    """What the provider's terms say about training on its answers."""
    found = terms.find(teacher.platform, teacher.model)
    if found is None:
        return [f"terms    nobody has read what the provider of {teacher.name} says about training on its answers"]
    where = ", ".join(map(str, found.sources))
    return [f"terms    {found.status}: {found.note} ({where}; read {found.date})", f"         {terms.NOTICE}"]


def leaves_machine(teacher: RemoteTeacher) -> bool:
    """Whether prompts do. Some platforms are here or elsewhere, and then the teacher says where."""
    return getattr(teacher, "leaves_machine", PLATFORMS[teacher.platform].leaves_machine)
