"""Read a YAML file of this package into its model, and say where it is wrong."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from .errors import InputError

T = TypeVar("T")


def read(path: Path, kind: type[T]) -> T:
    """The file as a ``kind``. Raises InputError that names the file, and every key that is wrong."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise InputError(f"{path}:{mark.line + 1}:{mark.column + 1}: {error.problem}") from error
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as error:
        wrong = [f"{path}: {_dotted(e['loc'])}: {e['msg']}" for e in error.errors(include_url=False)]
        raise InputError("\n".join(wrong)) from error


def _dotted(keys: tuple[str | int, ...]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")


class _Loader(yaml.BaseLoader):
    """Every scalar is a string, which the model turns into a number or a date: nothing else can be made of a file.

    A key given twice is an error; plain YAML would keep the second without a word.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key for key, _ in node.value]
        for number, key in enumerate(keys):
            if any(key.value == other.value for other in keys[:number]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)
