"""The ResNet that classifiers of images are made of (He et al., 1512.03385, sec. 4.2), as transformers has it.

It is made here, untrained and the same every time, so nothing is downloaded. ``--teacher local:resnet`` and ``--student
resnet`` mean it, of 20 layers; ``resnet:8`` eight of them. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import disk_errors
from ..progress import Stages
from ..transfer.config import TrainConfig

SPEC = "resnet"
NAME = "ResNet-20"
STAGES = {"embedding_size": 16, "hidden_sizes": [16, 32, 64], "depths": [3, 3, 3], "layer_type": "basic"}
SIDE = 32  # pixels, to which images are resized, as those that it was designed for

LAYERS, SMOKE_LAYERS = "8", "8"
TEACHER_TRAINING = TrainConfig(steps=200, learning_rate=2e-3, batch=16)
STUDENT_TRAINING = TrainConfig(steps=300, learning_rate=4e-3, batch=16)
LEARNING_RATES = (2e-3, 4e-3)  # tried for every student arm when a record is made


def unpack(workdir: Path, stages: Stages) -> Path:
    """The folder of the ResNet under ``workdir``, made the first time."""
    folder = workdir / "models" / SPEC / "model"
    if not folder.exists():
        with stages.stage(f"Make the image model ({NAME})", 1) as advance, disk_errors(folder):
            _make(folder)
            advance(1)
    return folder


def _make(folder: Path) -> None:
    import torch
    from transformers import ResNetConfig, ResNetModel, ViTImageProcessorPil

    from ..transfer.trainer import save

    torch.manual_seed(0)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save(ResNetModel(ResNetConfig(**STAGES)), ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}), folder)
