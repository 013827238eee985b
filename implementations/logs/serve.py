"""What a teacher leaves in its platform's log while it serves: the story's own production."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import disk_errors
from ..record import write_atomic
from ..tasks.task import Item
from ..teachers.teacher import Answer, Kind
from .logged import Logged
from .read import FORMATS

OPENED = datetime(2026, 1, 1, 8, tzinfo=UTC)  # when the first request came; then one an hour
MISHAPS = 12  # requests served for each of the lines that no log is without


def write_log(path: Path, form: str, model: str, instruction: str, served: list[tuple[Item, Answer]]) -> None:
    """Write ``served``, in order, as a log of the format ``form``, with what goes wrong in production between.

    An answer that the teacher left out or cut off is in the log as that. Nothing is random but by a fixed seed.
    """
    rng = random.Random(0)
    lines = []
    for number, (item, answer) in enumerate(served):
        kind = answer.kind if answer.kind in (Kind.COMPLETE, Kind.TRUNCATED, Kind.EMPTY, Kind.REFUSED) else Kind.FAILED
        call = Logged(
            id=f"request-{number}",
            when=OPENED + timedelta(hours=number),
            model=model,
            instruction=instruction,
            prompt=item.prompt,
            answer=answer.text,
            kind=kind,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        )
        lines.append(json.dumps(FORMATS[form].write(call), ensure_ascii=False))
        if rng.randrange(MISHAPS) == 0:
            lines += _mishap(form, call, rng)
    with disk_errors(path):
        write_atomic(path, "\n".join(lines) + "\n")


def _mishap(form: str, call: Logged, rng: random.Random) -> Iterator[str]:
    """A line as logs have them: an error, a refusal, another model or instruction on trial, a line that broke off."""
    once = replace(call, id=f"{call.id}-again", answer="I cannot help with that.", kind=Kind.REFUSED)
    spoilt = rng.choice(
        [
            once,
            replace(once, answer="", kind=Kind.FAILED),
            replace(call, model="a-model-on-trial", answer="Here is the summary you asked for."),
            replace(call, instruction="Say what is wrong with the patient.", answer="See the note."),
            None,
        ]
    )
    line = json.dumps(FORMATS[form].write(spoilt or call), ensure_ascii=False)
    yield line if spoilt else line[: len(line) // 2]
