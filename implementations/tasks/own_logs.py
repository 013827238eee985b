"""The user's own logs: ``--logs FILE``, with experts' answers to some of the logged prompts in ``--prompts``.

Experts' answers are not in the log of a model. Those to the latest logged prompts are held out; the log from there on
teaches nothing. All that is learnt is what the log has from before.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from dataclasses import replace
from pathlib import Path

from .. import privacy
from ..errors import InputError
from ..logs.logged import Logged
from ..logs.read import Tally, read
from ..logs.select import Selected, normal, select, usable
from ..teachers.teacher import Answer, Kind, Request
from .task import Item, Sizes, Splits
from .user_prompts import FEWEST, HELDOUT_SHARE, UserPrompts
from .user_prompts import read as read_prompts


class OwnLogs(UserPrompts):
    """What a log teaches, scored by ROUGE-L against experts' answers to its latest prompts.

    ``model`` is whose answers are learnt; ``instruction`` None for the log's most frequent one. With ``redact``, what
    looks like an identifier is replaced in prompts, answers and references, for good. With ``cut_off``, as in a smoke
    run, answers that ran into the token limit pass. Raises InputError: an unreadable log, too little in it.
    """

    def __init__(
        self,
        paths: list[Path],
        form: str,
        prompts: Path,
        model: str,
        instruction: str | None,
        max_new_tokens: int,
        redact: bool = False,
        cut_off: bool = False,
    ):
        gold = read_prompts(prompts)
        if bare := [item.id for item in gold if item.reference is None]:
            raise InputError(
                f'{prompts}: {len(bare)} rows without a "reference" (the first is {bare[0]!r}); leave them out: with '
                "--logs the prompts to learn from are in the log"
            )
        self.tally = Tally()
        calls = usable(read(paths, form, self.tally), model, self.tally, instruction, cut_off)
        found = None
        if redact:
            found = privacy.scan(text for call in calls for text in (call.prompt, call.answer))
            calls, gold = _redacted(calls, gold)
        self.heldout, self.gold = _held_out(gold, calls, prompts)
        self.selected: Selected = select(calls, [item.prompt for item in self.heldout], self.tally, found)
        self.items = [Item(call.id or f"call-{at}", call.prompt) for at, call in enumerate(self.selected.pairs)]
        for items, what in ((self.gold, 'rows with a "reference"'), (self.items, "calls to learn from")):
            if len(items) < FEWEST:
                raise InputError(
                    f"{paths[0]}: {len(items)} {what} from before the held-out prompts, at least {FEWEST} are needed; "
                    f"give more of the log, and experts' answers to older prompts of it ({self.tally})"
                )
        learnt = [(call.prompt, call.answer) for call in (*self.selected.pairs, *self.selected.answers)]
        self.name = f"logs-{hashlib.sha256(repr(learnt).encode()).hexdigest()[:8]}"
        self.title = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
        self.instruction, self.max_new_tokens = calls[0].instruction, max_new_tokens

    def splits(self, sizes: Sizes, seed: int) -> Splits:
        """The newest of what the log teaches, oldest first; ``sizes`` caps all. Held out is the same for every seed."""
        gold = self.gold.copy()
        random.Random(seed).shuffle(gold)
        heldout = self.heldout[-sizes.heldout :]
        return Splits(gold[: sizes.gold], [], self.items[-sizes.transfer :], {"heldout": heldout})

    def answers(self) -> list[tuple[Request, Answer]]:
        """What the log answers, as the ledger keeps it: to what is learnt from, and to the held-out prompts."""
        return [
            (
                Request(self.instruction, call.prompt, self.max_new_tokens),
                Answer(call.answer, Kind.COMPLETE, call.prompt_tokens, call.completion_tokens),
            )
            for call in (*self.selected.pairs, *self.selected.answers)
        ]

    def notes(self) -> list[str]:
        """What is in the log and what becomes of it, for whoever starts the run."""
        measured = self.selected.measured
        found = ", ".join(f"{n} {kind}" for kind, n in measured.identifiers.items())
        lines = [
            f"log      {self.tally}",
            f"learnt   {measured.learnt_from} calls before the held-out prompts; {measured.later} came after",
            f"found    {found or 'nothing that looks like an identifier'}"
            + (", replaced" if measured.redacted else ", learnt as it is: --redact replaces it" if found else "")
            + "; names and addresses are not recognized",
        ]
        longest = max(call.completion_tokens for call in self.selected.pairs)
        if longest > self.max_new_tokens:
            lines.append(
                f"longest  {longest} tokens of an answer: --max-new-tokens {longest} lets the student write as many"
            )
        if drift := measured.drift:
            says = "they drift" if drift.found else "no more than chance"
            lines.append(
                f"drift    {drift.distance} between the words of earlier and later prompts (by chance "
                f"{drift.chance_low} to {drift.chance_high}): {says}"
            )
        return lines


def _held_out(gold: list[Item], calls: list[Logged], path: Path) -> tuple[list[Item], list[Item]]:
    """(The quarter of ``gold`` whose prompt was logged last, oldest first; the rest)."""
    last = {normal(call.prompt): at for at, call in enumerate(calls)}
    dated = sorted((item for item in gold if normal(item.prompt) in last), key=lambda item: last[normal(item.prompt)])
    cut = max(2, round(len(gold) * HELDOUT_SHARE))
    if len(dated) < cut:
        raise InputError(
            f"{path}: {len(dated)} of {len(gold)} prompts are in the log with a whole answer, at least {cut} are "
            "needed, to be held out; write experts' answers to logged prompts, as they stand there, the latest too"
        )
    heldout = dated[-cut:]
    taken = {normal(item.prompt) for item in heldout}
    return heldout, [item for item in gold if normal(item.prompt) not in taken]


def _redacted(calls: list[Logged], gold: list[Item]) -> tuple[list[Logged], list[Item]]:
    """Both without identifiers. What stood for what is forgotten, for nothing here is ever put back."""
    with tempfile.TemporaryDirectory() as folder, privacy.Redactor(Path(folder) / "redacted.sqlite") as redactor:
        hide = redactor.redact
        calls = [replace(call, prompt=hide(call.prompt), answer=hide(call.answer)) for call in calls]
        gold = [replace(item, prompt=hide(item.prompt), reference=hide(item.reference or "")) for item in gold]
    return calls, gold
