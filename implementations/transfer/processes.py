"""One training shared by several processes: each computes its part of every batch, and they stay equal.

    torchrun --nproc_per_node 2 -m implementations.transfer.processes JOB.json 2 cpu          # processor cores
    accelerate launch --num_processes 8 -m implementations.transfer.processes JOB.json 8 cuda  # GPUs

On processors torchrun starts them, for accelerate (1.15) starts one process there whatever number it is given.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError
from ..record import ROOT, Curve
from .config import Processes
from .job import Job
from .trainer import FINISHED


def command(processes: Processes, device: str) -> list[str]:
    """What starts them; ``device`` is cpu or cuda."""
    if device == "cpu":
        return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes.count)]
    how = ["--config_file", str(processes.config)] if processes.config else ["--multi_gpu"]
    plain = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes.count), *how, *plain]


def train(job: Job, device: str, processes: Processes, on_step: Callable[[int], None]) -> Curve:
    """``job.run`` in ``processes``; ``device`` is cpu or cuda. Raises InputError when one of them fails."""
    job.folder.mkdir(parents=True, exist_ok=True)
    path, log = job.folder / "job.json", job.folder / "processes.log"
    job.write(path)
    argv = [*command(processes, device), "-m", __name__, str(path.resolve()), str(processes.count), device]
    threads = str(max(1, (os.cpu_count() or 1) // processes.count))
    environment = ({"OMP_NUM_THREADS": threads} if device == "cpu" else {}) | os.environ
    # They stay where the paths of the job and of --config begin, and this code is found from there, no other's.
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {"PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
    # In a session of their own, so that an interrupt ends this process and this process ends those, all of them.
    with (
        log.open("w") as errors,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True
        ) as started,
    ):
        try:
            said = _follow(started, on_step)
        except BaseException:
            os.killpg(started.pid, signal.SIGKILL)
            raise
    if not (job.folder / FINISHED).exists():  # whatever their status: gloo may abort a process that has done its part
        raise InputError(said or f"training in {processes.count} processes failed; what they printed is in {log}")
    path.unlink()
    log.unlink()
    return Curve.model_validate_json((job.folder / FINISHED).read_text())


def _follow(started: subprocess.Popen, on_step: Callable[[int], None]) -> str:
    """Tell ``on_step`` what the processes print; what they said of an error that the user can mend, if they did."""
    error = ""
    for line in started.stdout:
        if line.startswith("{"):
            said = json.loads(line)
            error = said.get("error", error)
            if "step" in said:
                on_step(said["step"])
    return error


def main() -> None:
    """One of the processes."""
    from accelerate import PartialState

    path, count, device = sys.argv[1:]
    state = PartialState(cpu=device == "cpu")
    try:
        if state.num_processes != int(count):
            raise InputError(f"{state.num_processes} processes were started where {count} were asked for")
        where = "cpu" if device == "cpu" else str(state.device)
        Job.read(Path(path)).run(where, lambda step: state.is_main_process and _say(step=step))
    except InputError as error:
        _say(error=str(error))
        sys.exit(2)
    finally:
        state.destroy_process_group()


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")  # at once, so that the lines of several processes stay apart
    sys.stdout.flush()


if __name__ == "__main__":
    main()
