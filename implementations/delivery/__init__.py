"""Where a student goes when it is trained: a plain folder, a GGUF file or an Ollama server. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from ..errors import InputError


class Target(StrEnum):
    """What `distill export --to` makes. The module of the same name does it."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    OLLAMA = "ollama"


class Precision(StrEnum):
    """How matrices are stored, in the names of llama.cpp. Vectors stay float32 in a GGUF file, whichever is chosen."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"


# What each target can store, its default first. A student is trained and kept in float32.
PRECISIONS = {
    Target.SAFETENSORS: (Precision.F32, Precision.BF16, Precision.F16),
    Target.GGUF: (Precision.F16, Precision.F32, Precision.BF16, Precision.Q8_0),
    Target.OLLAMA: (Precision.F16, Precision.F32, Precision.BF16, Precision.Q8_0),
}


def check_finished(run: Path) -> None:
    """Raise InputError where ``run`` is no folder of a finished run."""
    missing = [name for name in ("record.json", "items.jsonl", "student") if not (run / name).exists()]
    if missing:
        raise InputError(
            f"{run}: no finished run ({', '.join(missing)} missing); give a run's folder, or run the same "
            "`distill run` again to finish it"
        )
