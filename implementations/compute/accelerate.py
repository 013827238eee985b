"""A run whose trainings several processes share, on one's own GPUs: ``distill launch PATTERN --on accelerate``.

It is `distill run` in every other respect: asking, caching and measuring are this process's. With --config, an
accelerate configuration says how the processes share a model that is too large for one GPU: accelerate_configs/ has one
for FSDP and one for DeepSpeed (``pip install deepspeed``).

    distill launch response-based --on accelerate --count 8
    distill launch response-based --on accelerate --count 8 --config implementations/compute/accelerate_configs/fsdp.yml
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from ..errors import InputError
from ..options import Launch
from ..run import execute
from ..transfer.config import Processes
from ..transfer.device import pick_device
from ..transfer.processes import command, train
from .sharing import check_shared


def launch(asked: Launch, console: Console, out: Console) -> Path | None:
    """Run, and return the run's folder; with --dry-run, print what would start each training. Raises InputError."""
    processes = Processes(asked.machine.count, asked.machine.config)
    if processes.config and not processes.config.is_file():
        raise InputError(f"--config {processes.config}: no such file; give an accelerate configuration")
    check_shared(asked.options, f"take `distill run {asked.options.pattern}` with the same options")
    device = pick_device(asked.options.device).type
    if processes.config and device == "cpu":
        raise InputError("--config: FSDP and DeepSpeed need GPUs, and none is here; leave --config out")
    if asked.dry_run:
        program = ["-m", train.__module__, "JOB.json", str(processes.count), device]  # as `train` writes and starts it
        out.print(shlex.join([*command(processes, device), *program]))
        return None
    folder, _ = execute(replace(asked.options, processes=processes), console)
    return folder
