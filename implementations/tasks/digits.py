"""Handwritten digits of some 13 people (Alpaydin & Kaynak 1998, UCI): 1,797 images of 8 × 8 pixels, in scikit-learn.

They are read from the file in its wheel; nothing of the wheel is installed or run. Who wrote what is not known, but
consecutive images stem from one writer more often than not (Grisel's notebook, "Impact of the dependency between
samples", shows it), so the last fifth is the unseen kind: other hands than those that models learn from, but for one.
"""

from __future__ import annotations

import csv
import gzip
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ..registry import TASKS
from .images import encode
from .labelled import Labelled
from .packages import archive
from .task import Item

INSIDE = "sklearn/datasets/data/digits.csv.gz"
SIDE, DARKEST = 8, 16  # pixels; the largest value of one
SEEN = 0.8  # share of the images, in the order of the file
RUN = 100  # words, which a prompt does not have: images are left out when they are the same, pixel by pixel


class Digits(Labelled):
    """An image in; the name of a digit out."""

    name = "digits"
    instruction = "Which digit is this? Answer with one word, zero to nine."
    labels = tuple("zero one two three four five six seven eight nine".split())
    images = True

    def __init__(self) -> None:
        items = read(archive(TASKS[self.name].data))
        last = round(SEEN * len(items))
        super().__init__(items[:last], items[last:], RUN)


def read(path: Path) -> list[Item]:
    """The images of the wheel, ink on white, in its order: each line has 64 values and the digit."""
    with zipfile.ZipFile(path) as wheel:
        lines = gzip.decompress(wheel.read(INSIDE)).decode().splitlines()
    items = []
    for number, (*pixels, digit) in enumerate(csv.reader(lines)):
        ink = np.array(pixels, float).reshape(SIDE, SIDE) / DARKEST
        image = Image.fromarray((255 * (1 - ink)).round().astype(np.uint8))
        items.append(Item(f"digit-{number}", encode(image), Digits.labels[int(digit)]))
    return items
