"""From what `--teacher` says to a teacher. Each platform's module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from ..errors import InputError
from ..registry import PLATFORMS
from .teacher import RemoteTeacher

FORM = {  # what follows the platform's name
    "claude": "claude:MODEL",
    "vertex": "vertex:MODEL",
    "langchain": "langchain:PROVIDER:MODEL",
    "ollama": "ollama:MODEL",
    "bedrock": "bedrock:MODEL",
}


def open_remote(spec: str) -> RemoteTeacher:
    """The teacher behind a platform. Raises InputError: unknown platform, missing package, no key."""
    slug, _, model = spec.partition(":")
    platform = PLATFORMS.get(slug)
    if platform is None or platform.module is None:
        known = ", ".join(["local", "local:PATH", *(FORM[s] for s, p in PLATFORMS.items() if s in FORM and p.module)])
        raise InputError(f"--teacher {spec}: no such platform here; give one of: {known}")
    if not model:
        raise InputError(f"--teacher {spec}: which model? give {FORM[slug]}")
    return import_module(platform.module).open_teacher(model)
