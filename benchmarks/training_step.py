"""A student's training step with and without keep_freed_memory, in turn: python benchmarks/training_step.py [ROUNDS]

Each variant runs in fresh processes, in the order A B A B …, because what malloc keeps cannot be given back. Prints
the median seconds of a step (8 rows of the clinical task, ten layers of the embedded teacher) and the peak memory.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

STEPS = 12


def measure(keep: bool) -> dict[str, float]:
    """Seconds of a step, the first two left out, and MiB, in this process."""
    from implementations.evaluation.serving import peak_resident_mib
    from implementations.recipes.arms import STUDENT_LAYERS
    from implementations.tasks.clinical_summary import ClinicalSummary
    from implementations.tasks.task import Sizes
    from implementations.teachers import embedded
    from implementations.teachers.local import load
    from implementations.transfer import students, trainer
    from implementations.transfer.chat import row
    from implementations.transfer.config import TrainConfig

    if not keep:
        trainer.keep_freed_memory = lambda: None
    folder = embedded.materialize(Path(tempfile.gettempdir()) / "benchmark-teacher" / "model")
    teacher, tokenizer = load(folder, "auto", "float32")
    student = students.cut(teacher, int(STUDENT_LAYERS))
    task = ClinicalSummary()
    notes = task.splits(Sizes(64, 0, 0, 0, 0), seed=0).gold
    rows = [row(tokenizer, task.instruction, note.prompt, note.reference) for note in notes]
    times: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        config = TrainConfig(steps=STEPS, learning_rate=1e-3)
        trainer.train(student, tokenizer, rows, config, Path(scratch), lambda _: times.append(time.perf_counter()))
    seconds = [b - a for a, b in pairwise(times)][2:]
    return {"seconds": statistics.median(seconds), "mib": peak_resident_mib()}


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2] == "keep")))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    results: dict[str, list[dict[str, float]]] = {"keep": [], "return": []}
    for _ in range(rounds):
        for variant, measured in results.items():
            command = [sys.executable, __file__, "--measure", variant]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            measured.append(json.loads(run.stdout.splitlines()[-1]))
    for variant, measured in results.items():
        seconds = [m["seconds"] for m in measured]
        peak = max(m["mib"] for m in measured)
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        print(f"{variant:7} {statistics.median(seconds):.2f} s a step ({spread}), peak {peak:.0f} MiB")


if __name__ == "__main__":
    main()
