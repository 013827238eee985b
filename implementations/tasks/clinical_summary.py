"""Clinical note summarization on synthetic notes whose facts are known (no patient exists).

Every note carries five facts: problem, history, key finding, treatment, disposition. An answer is scored by which
of them it states (recall) and by how much of what it states is true of this note (precision), so no judge model is
needed and a fluent invention costs what it should.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from . import clinical_vocabulary as words
from .task import Item, Marks, Sizes, Splits

EVALUATION_SEED = 20261122  # held-out notes are the same for every run, so runs can be compared


class ClinicalSummary:
    """Notes in, one line out, five known facts each."""

    name = "clinical-summary"
    title = "Clinical note summarization (synthetic notes)"
    instruction = "Summarize the note in one line: age, sex, history, problem, key finding, treatment, disposition."
    max_new_tokens = 64  # the longest gold summary takes 40
    primary = "fact_f1"

    def splits(self, sizes: Sizes, seed: int) -> Splits:
        """Draw the notes of one run.

        No sentence of a gold or transfer note (skeleton with its slot values) occurs in a held-out or unseen note.
        Asking for more gold keeps the gold there was, and does not change the transfer notes.
        """
        evaluation = random.Random(EVALUATION_SEED)
        taken: set[str] = set()
        heldout = _draw("heldout", sizes.heldout, words.SEEN, evaluation, taken)
        unseen = _draw("unseen", sizes.unseen, words.UNSEEN, evaluation, taken)
        closed = frozenset(sentence for item in (*heldout, *unseen) for sentence in item.sentences)
        drawn = {
            name: _draw(f"{name}-{seed}", count, words.SEEN, random.Random(f"{name} {seed}"), taken, closed)
            for name, count in (("transfer", sizes.transfer), ("dev", sizes.dev), ("gold", sizes.gold))
        }
        return Splits(**drawn, slices={"heldout": heldout, "unseen": unseen})

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        """``fact_precision``, ``fact_recall`` and ``fact_f1`` of ``answer``."""
        facts = score(answer, item)
        return {"fact_f1": facts.f1, "fact_precision": facts.precision, "fact_recall": facts.recall}

    def marks(self, answer: str, item: Item) -> Marks:
        """The facts found and invented in ``answer``, and the missed ones by kind and value."""
        facts = score(answer, item)
        return Marks(facts.spans, tuple(f"{kind}: {item.facts[kind]}" for kind in facts.missed))


@dataclass(frozen=True)
class FactScore:
    """Which facts an answer states. ``spans`` are (start, end, "found" | "invented") in the answer, in order."""

    found: tuple[str, ...]
    missed: tuple[str, ...]
    invented: tuple[str, ...]
    spans: tuple[tuple[int, int, str], ...]

    @property
    def precision(self) -> float:
        """Stated and true over stated; 0 when nothing was stated."""
        stated = len(self.found) + len(self.invented)
        return len(self.found) / stated if stated else 0.0

    @property
    def recall(self) -> float:
        return len(self.found) / (len(self.found) + len(self.missed))

    @property
    def f1(self) -> float:
        p, r = self.precision, self.recall
        return 2 * p * r / (p + r) if p + r else 0.0


def _draw(
    prefix: str,
    count: int,
    conditions: tuple[words.Condition, ...],
    rng: random.Random,
    taken: set[str],
    closed: frozenset[str] = frozenset(),
) -> list[Item]:
    """``count`` notes, none equal to a note in ``taken`` and none with a sentence in ``closed``."""
    items: list[Item] = []
    while len(items) < count:
        item = note(f"{prefix}-{len(items)}", rng, conditions[rng.randrange(len(conditions))])
        if item.prompt in taken or not closed.isdisjoint(item.sentences):
            continue
        taken.add(item.prompt)
        items.append(item)
    return items


def note(identifier: str, rng: random.Random, condition: words.Condition) -> Item:
    """One note about ``condition``, with its summary and its facts."""
    template, bounds = rng.choice(condition.findings)
    facts = {
        "problem": condition.problem,
        "history": rng.choice(words.HISTORIES),
        "finding": template.format(n=rng.randint(*bounds)) if bounds else template,
        "treatment": rng.choice(condition.treatments),
        "disposition": rng.choice(words.DISPOSITIONS),
    }
    age, sex = rng.randint(18, 94), rng.choice(words.SEXES)
    slots = facts | {
        "age": age,
        "sex": sex,
        "complaint": rng.choice(condition.complaints),
        "duration": rng.choice(words.DURATIONS).format(n=rng.randint(2, 9)),
        "exam": rng.choice(words.EXAMINATIONS),
        "bp": f"{rng.randint(88, 185)}/{rng.randint(48, 105)}",
        "pulse": rng.randint(54, 138),
        "temp": f"{rng.randint(355, 399) / 10:.1f}",
        "time": f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}",
        "dose": rng.choice(words.DOSES),
        "n": rng.randint(2, 12),
        "bleep": rng.randint(1000, 9899),
    }
    parts = (words.PRESENTATION, words.OBSERVATIONS, words.ASSESSMENT, words.PLAN)
    sentences = tuple(_capitalized(rng.choice(part).format(**slots)) for part in parts)
    reference = (
        f"{age}-year-old {sex}, {facts['history']}: {facts['problem']}, {facts['finding']}, "
        f"{facts['treatment']}, {facts['disposition']}."
    )
    return Item(identifier, " ".join(sentences), reference, facts, sentences)


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def score(answer: str, item: Item) -> FactScore:
    """Find this note's facts in ``answer``, and claims that are not true of it.

    A fact is found when its words stand in the answer in order, at most three other words between two of them,
    whatever the case. Invented is, each counted once however often repeated:

    - a value of the generator's vocabulary that is not a fact of this note;
    - a number that the note does not contain;
    - a run of words that neither the note nor a clinician's plain vocabulary has (``PLAIN``), such as a drug name
      that went wrong in copying. A word with the first five letters of a known one passes as its inflection.
    """
    spans: list[tuple[int, int, str]] = []
    found = []
    for kind, value in item.facts.items():
        if match := _pattern(value).search(answer):
            found.append(kind)
            spans.append((*match.span(), "found"))
    invented: dict[str, None] = {}
    for match in _claims(answer, item):
        # "heart failure" inside a longer value that was found is not a claim of its own.
        if not any(match.start() < end and start < match.end() for start, end, _ in spans):
            invented[match.group().lower()] = None
            spans.append((*match.span(), "invented"))
    missed = tuple(kind for kind in item.facts if kind not in found)
    return FactScore(tuple(found), missed, tuple(invented), tuple(sorted(spans)))


def _claims(answer: str, item: Item) -> Iterator[re.Match[str]]:
    """What ``answer`` says that its note does not, most specific first; places may overlap."""
    own = {value.lower() for value in item.facts.values()}
    for value in _lexicon():
        if value.lower() not in own and (match := _pattern(value).search(answer)):
            yield match
    numbers = set(_NUMBER.findall(item.prompt))
    yield from (match for match in _NUMBER.finditer(answer) if match.group() not in numbers)
    known = _words(item.prompt) | _plain()
    stems = {word[:STEM] for word in known if len(word) >= STEM}
    unknown = [
        w for w in dict.fromkeys(_WORD.findall(answer)) if w.lower() not in known and w.lower()[:STEM] not in stems
    ]
    if unknown:
        word = rf"\b(?:{'|'.join(map(re.escape, unknown))})\b"
        yield from re.finditer(rf"{word}(?:[\s-]+{word})*", answer)


_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_]{2,}")
STEM = 5


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


@cache
def _plain() -> frozenset[str]:
    """Words that state no fact: those of the sentence skeletons, and ``PLAIN``."""
    skeletons = (*words.PRESENTATION, *words.OBSERVATIONS, *words.ASSESSMENT, *words.PLAN, *words.DURATIONS)
    return frozenset(_words(" ".join(re.sub(r"{\w+}", " ", s) for s in skeletons)) | _words(words.PLAIN))


@cache
def _pattern(value: str) -> re.Pattern[str]:
    tokens = re.findall(r"\w+", value)
    return re.compile(r"\b" + r"\b(?:\W+\w+){0,3}?\W+\b".join(map(re.escape, tokens)) + r"\b", re.IGNORECASE)


@cache
def _lexicon() -> tuple[str, ...]:
    """Every value without a number that a note may carry, longest first. Findings with numbers are caught by them."""
    values = {*words.HISTORIES, *words.DISPOSITIONS}
    for condition in (*words.SEEN, *words.UNSEEN):
        values |= {condition.problem, *condition.treatments}
        values |= {finding for finding, bounds in condition.findings if bounds is None}
    return tuple(sorted(values, key=lambda v: (-len(v), v)))
