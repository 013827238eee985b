"""Sentiment as people rate it: the raw ratings behind VADER (Hutto & Gilbert 2014, ICWSM-14), in its source archive.

At least 20 people rated each text from −4 to 4. The label is the sign that most of them gave; a text on which two
signs tie has none and is left out. Models learn from tweets; sentences of product reviews are the unseen kind.
"""

from __future__ import annotations

import html
import json
import tarfile
from collections import Counter
from pathlib import Path

from ..registry import TASKS
from .labelled import Labelled
from .packages import archive
from .task import Item

INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
SEEN, UNSEEN = "tweets", "amazonReviewSnippets"
RUN = 8  # words; half of a tweet


class Sentiment(Labelled):
    """A tweet in; negative, neutral or positive out."""

    name = "sentiment"
    instruction = "What is the sentiment of this text? Answer with one word: negative, neutral or positive."
    labels = ("negative", "neutral", "positive")

    def __init__(self) -> None:
        path = archive(TASKS[self.name].data)
        super().__init__(read(path, SEEN), read(path, UNSEEN), RUN)

    def metrics(self, answer: str, item: Item) -> dict[str, float]:
        """And ``agreement``: the share of the raters who gave the answer's label."""
        return super().metrics(answer, item) | {"agreement": float(item.facts.get(self._label(answer) or "", 0))}


def read(path: Path, source: str) -> list[Item]:
    """The texts of one source with their majority; ``facts`` has the share of the raters behind each label."""
    root = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as outer, tarfile.open(fileobj=outer.extractfile(f"{root}/{INNER}")) as inner:
        texts, ratings = (
            _columns(inner.extractfile(f"hutto_ICWSM_2014/{source}_{kind}.txt").read().decode("utf-8-sig"))
            for kind in ("GroundTruth", "anonDataRatings")
        )
    items = []
    for key, text in texts.items():
        signs = Counter(_sign(rating) for rating in json.loads(ratings[key]))
        (label, most), *others = signs.most_common()
        if not others or others[0][1] < most:
            shares = {name: f"{signs[name] / signs.total():.3f}" for name in Sentiment.labels}
            items.append(Item(f"{source}/{key}", text, label, shares))
    return items


def _columns(table: str) -> dict[str, str]:
    """The last column of each line by its first."""
    rows = (line.split("\t") for line in table.split("\n") if line.strip())
    return {row[0]: html.unescape(row[-1].strip()) for row in rows}


def _sign(rating: float) -> str:
    return "negative" if rating < 0 else "positive" if rating > 0 else "neutral"
