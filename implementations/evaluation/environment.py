"""Where a run took place: machine, packages, commit. Imports torch only to describe the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from ..record import ROOT, Machine

RECORDED = ("torch", "transformers", "accelerate", "safetensors", "gguf", "numpy")


def machine() -> Machine:
    """The processor and, if torch sees one, the GPU."""
    import torch

    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )


def packages() -> dict[str, str]:
    """The versions that could change a figure."""
    return {name: metadata.version(name) for name in RECORDED}


def commit() -> str | None:
    """The commit of this repository, with ``+`` when files differ from it; None outside a checkout."""
    try:
        changed = "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
        return _git("rev-parse", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ("git", "-C", str(ROOT), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    """The model name, with the instruction sets that decide how fast matrices multiply."""
    import torch

    cpuinfo = Path("/proc/cpuinfo")
    name = platform.processor() or platform.machine()
    if cpuinfo.exists():
        names = [line.partition(":")[2] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0].strip() if names else name
    capabilities = torch.cpu.get_capabilities()
    sets = [k.upper().replace("_", "-") for k in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if capabilities.get(k)]
    return f"{name} ({', '.join(sets)})" if sets else name
