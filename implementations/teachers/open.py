"""From what `--teacher` says to a teacher. Each platform's module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from ..errors import InputError, nearest
from ..options import Options
from ..registry import PLATFORMS
from . import terms
from .spending import endpoint_of
from .teacher import Destination, RemoteTeacher


def check_spec(spec: str) -> None:
    """Raise InputError unless ``spec`` names a platform, and a model where the platform has several."""
    slug, _, model = spec.partition(":")
    known = {p.slug: p.teacher for p in PLATFORMS.values() if p.module}
    if slug not in known:
        mend = nearest(slug, known) or f"give one of: {', '.join(['local:PATH', *known.values()])}"
        raise InputError(f"--teacher {spec}: no such platform here; {mend}")
    if slug != "local" and not model:
        raise InputError(f"--teacher {spec}: which model? give {known[slug]}")


def open_remote(spec: str) -> RemoteTeacher:
    """The teacher behind a platform. Raises InputError: unknown platform, missing package, no key."""
    check_spec(spec)
    slug, _, model = spec.partition(":")
    return import_module(PLATFORMS[slug].module).open_teacher(model)


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
    endpoint = endpoint_of(teacher)
    found = terms.find(teacher.platform, teacher.model, endpoint)
    if found is None:
        return [f"terms    {terms.unread(teacher.name, endpoint)}"]
    where = ", ".join(map(str, found.sources))
    return [f"terms    {found.status}: {found.note} ({where}; read {found.date})", f"         {terms.NOTICE}"]


def destination_of(spec: str) -> Destination:
    """Where prompts to the teacher of ``spec`` would go. It is not opened, and nothing is asked."""
    slug, _, model = spec.partition(":")
    return Destination() if slug == "local" else import_module(PLATFORMS[slug].module).destination(model)


def leaves_machine(teacher: RemoteTeacher) -> bool:
    """Whether prompts do. Some platforms are here or elsewhere, and then the teacher says where."""
    return getattr(teacher, "leaves_machine", PLATFORMS[teacher.platform].leaves_machine)
