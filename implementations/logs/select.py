"""Out of a log, a transfer set: one model, one instruction, whole answers, no repeats, nothing of the latest weeks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .. import privacy, record
from ..errors import InputError
from ..teachers.teacher import Kind
from .drift import drift
from .logged import OF_KIND, Left, Logged
from .read import Tally

WORDS = 3  # in a shingle
HASHES, BANDS = 128, 32  # of a MinHash; bands of 4 let pairs from a Jaccard similarity of about 0.4 up be compared
TEMPLATE = 20  # different prompts, from which what they share is taken for a template
NEAR = 90  # of 100: the edit similarity from which two prompts are one
BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Selected:
    """What a log gives: ``pairs`` to learn from, oldest first, and ``answers`` to the held-out prompts."""

    pairs: list[Logged]
    answers: list[Logged]
    measured: record.Logs


def usable(
    calls: Iterable[Logged], model: str, tally: Tally, instruction: str | None = None, cut_off: bool = False
) -> list[Logged]:
    """Complete answers of ``model`` to one instruction, in the order of time.

    A logged name counts as the model's when it contains it: platforms add dates, regions and ARNs. The instruction is
    ``instruction`` or the log's most frequent one. ``cut_off`` lets answers pass that ran into the token limit. A call
    without a time is taken to follow the one before it.
    """
    mine: list[Logged] = []
    others: Counter[str] = Counter()
    kinds = {Kind.COMPLETE, Kind.TRUNCATED} if cut_off else {Kind.COMPLETE}
    for call in calls:
        if model not in call.model:
            tally.leave(Left.OTHER_MODEL)
            others[call.model] += 1
        elif call.kind not in kinds:
            tally.leave(OF_KIND[call.kind])
        else:
            before = mine[-1].when if mine else None
            mine.append(call if call.when else replace(call, when=before or BEGINNING))
    if not mine:
        names = ", ".join(repr(name) for name, _ in others.most_common(5))
        mend = f"give --teacher PLATFORM:MODEL with one of the log's models: {names}" if others else "give another log"
        raise InputError(f"--logs: no whole answer of {model} ({tally}); {mend}")
    usual = Counter(call.instruction for call in mine).most_common(1)[0][0]
    wanted = usual if instruction is None else instruction
    same = [call for call in mine if call.instruction == wanted]
    if not same:
        raise InputError(
            f"--logs: no call has the instruction {wanted!r}; leave --instruction out for the most frequent, {usual!r}"
        )
    tally.leave(Left.OTHER_INSTRUCTION, number=len(mine) - len(same))
    return sorted(same, key=lambda call: call.when)


def select(calls: list[Logged], heldout: list[str], tally: Tally, found: dict[str, int] | None = None) -> Selected:
    """Cut ``calls``, which are usable and in order, where the first of the ``heldout`` prompts came last.

    Learnt from is what came before, without repeats and without what is nearly a held-out prompt; of those alike the
    newest stays. Drift is measured between these and everything that came after. ``found`` is what was found of
    identifiers before they were redacted, None where they were not. Raises InputError when nothing is left.
    """
    last = {normal(call.prompt): at for at, call in enumerate(calls)}
    answered = [last[normal(prompt)] for prompt in heldout if normal(prompt) in last]
    cut = min(answered, default=len(calls))
    pairs = without_repeats(calls[:cut], heldout, tally)
    later = calls[cut:]
    if not pairs:
        raise InputError(
            f"--logs: no call is left to learn from before the held-out prompts ({tally}); give more of it"
        )
    texts = (text for call in pairs for text in (call.prompt, call.answer))
    measured = record.Logs(
        format=" and ".join(sorted(tally.formats)),
        records=tally.records,
        left_out={why.value: number for why, number in sorted(tally.left.items())},
        learnt_from=len(pairs),
        later=len(later),
        identifiers=privacy.scan(texts) if found is None else found,
        redacted=found is not None,
        drift=drift([call.prompt for call in pairs], [call.prompt for call in later]) if later else None,
    )
    return Selected(pairs, [calls[at] for at in answered], measured)


def without_repeats(calls: list[Logged], heldout: list[str], tally: Tally) -> list[Logged]:
    """``calls`` whose prompt no later one and no held-out one repeats, exactly or nearly.

    MinHash finds candidates among word trigrams without comparing all pairs (Broder 1997, "On the resemblance and
    containment of documents"); an edit similarity decides, as in Lee et al. 2022 (2107.06499, sec. 4.2), who take 0.8.
    It is 0.9 here: two different notes of one template reach 0.8. What all prompts begin or end with, such as an
    instruction before each, is not compared. rensa hashes in Rust (1 MB installed; datasketch brings scipy, 113 MB).
    """
    from rapidfuzz import fuzz
    from rensa import RMinHash, RMinHashLSH

    texts = [normal(prompt) for prompt in heldout] + [normal(call.prompt) for call in reversed(calls)]
    start, end = _shared(texts)
    texts = [text[start : len(text) - end] for text in texts]
    index, seen, kept = RMinHashLSH(threshold=0.5, num_perm=HASHES, num_bands=BANDS), set(), []
    for at, text in enumerate(texts):
        sketch = RMinHash(num_perm=HASHES, seed=0)
        sketch.update(_shingles(text))
        if at >= len(heldout):
            if text in seen:
                tally.leave(Left.DUPLICATE)
                continue
            if any(fuzz.ratio(text, texts[other]) >= NEAR for other in index.query(sketch)):
                tally.leave(Left.NEAR_DUPLICATE)
                continue
            kept.append(calls[len(texts) - 1 - at])
        seen.add(text)
        index.insert(at, sketch)
    return kept[::-1]


def normal(text: str) -> str:
    """``text`` as it is compared: small letters, single spaces."""
    return " ".join(text.lower().split())


def _shared(texts: list[str]) -> tuple[int, int]:
    """How many characters all ``texts`` begin with, and how many they end with; none where there are few."""
    if len(set(texts)) < TEMPLATE:
        return 0, 0
    start = _common(texts)
    return start, _common([text[start:][::-1] for text in texts])


def _common(texts: list[str]) -> int:
    """How many characters all ``texts`` begin with: as many as the first and the last of them by the alphabet."""
    first, last = min(texts), max(texts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))


def _shingles(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[i : i + WORDS]) for i in range(max(1, len(words) - WORDS + 1))]
