"""A whole run with the tiny model, for tests that kill it: python killable.py WORKDIR MODEL ASKED.

Appends a line to ASKED for every prompt that is put to a model, before it is answered.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from implementations.progress import Stages
from implementations.recipes import sequence_level
from implementations.recipes.arms import Setup
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.teachers import local
from implementations.transfer.config import TrainConfig
from implementations.workspace import Workspace


def main() -> None:
    workdir, model, asked = map(Path, sys.argv[1:4])
    generate = local.generate

    def watched(model, tokenizer, instruction, prompts, limit, batch, top):
        """Groups of four, each logged before it is asked."""
        for at in range(0, len(prompts), 4):
            some = prompts[at : at + 4]
            with asked.open("a") as log:
                log.writelines(f"{Path(model.name_or_path).parent.name} {prompt!r}\n" for prompt in some)
            for group in generate(model, tokenizer, instruction, some, limit, 4, top):
                yield [replace(g, index=g.index + at, text=g.text or "-") for g in group]

    local.generate = watched
    work = Workspace(workdir, "test", Stages(Console(stderr=True)), "cpu")
    steps = TrainConfig(steps=12, learning_rate=1e-3, batch=4, checkpoint_seconds=0.0)
    setup = Setup(
        work=work,
        task=ClinicalSummary(),
        teacher=work.model(model, "tiny"),
        base=None,
        start=work.cut(model, 2),
        sizes=Sizes(gold=8, dev=0, transfer=24, heldout=4, unseen=2),
        seeds=[0],
        teacher_training=steps,
        student_training=steps,
        rates=(),
        skip_empty=False,
        keep_truncated=True,
    )
    outcome = sequence_level.run(setup)
    print("student", work.identity(outcome.student))
    for arm in outcome.arms:
        for curve in arm.training:
            print(arm.kind, [round(loss, 5) for loss in curve.loss])


if __name__ == "__main__":
    main()
