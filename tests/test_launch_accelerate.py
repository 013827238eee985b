"""`distill launch --on accelerate`: a run whose trainings several processes share, here on processor cores."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from commands import distill

from implementations import record
from implementations.record import ROOT, ArmKind
from implementations.transfer import processes
from implementations.transfer.config import Processes, TrainConfig
from implementations.transfer.job import Job
from implementations.transfer.trainer import FINISHED

COMMAND = ("launch", "response-based", "--on", "accelerate", "--count", 2, "--device", "cpu")
CONFIGS = ROOT / "implementations" / "compute" / "accelerate_configs"


def test_a_whole_run_in_two_processes(tiny, tmp_path, monkeypatch, capsys):
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--smoke", "--skip-empty", "--workdir", tmp_path)
    assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
    measured = record.load(tmp_path / "latest" / "record.json")
    assert {arm.kind: len(arm.training) for arm in measured.arms}[ArmKind.STUDENT_DISTILLED] == 1
    left = [path.name for path in (tmp_path / "models").glob("trained-*/*") if path.name not in ("model", "curve.json")]
    assert not left  # neither checkpoints nor what the processes were told
    assert "report" in capsys.readouterr().out
    assert json.loads((tmp_path / "latest" / "student" / "config.json").read_text())["num_hidden_layers"] == 2


def test_the_processes_find_code_and_files_from_any_folder(tmp_path, monkeypatch):
    """The paths in the job are those of whoever launched it; a folder of theirs may have the name of the code's."""
    curve = {"steps": [1], "loss": [0.5], "learning_rate": 0.1, "batch": 1, "epochs": 1, "seconds": 1, "seed": 0}
    (tmp_path / "implementations").mkdir()
    (tmp_path / "implementations" / "__init__.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "stand_in.py").write_text(
        "import json, sys\nfrom pathlib import Path\nfrom implementations.record import ROOT\n"
        "folder = Path(json.loads(Path(sys.argv[3]).read_text())['folder'])\n"
        f"(folder / {FINISHED!r}).write_text({json.dumps(curve)!r})\n"
    )
    run = f"import runpy; runpy.run_path({str(tmp_path / 'stand_in.py')!r})"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(processes, "command", lambda *_: [sys.executable, "-c", run])
    job = Job(Path("start"), Path("runs/trained"), [], TrainConfig(steps=1, learning_rate=0.1))
    assert processes.train(job, "cpu", Processes(2), lambda step: None).loss == [0.5]


def test_dry_run_says_what_would_start_them(monkeypatch, capsys):
    assert distill(monkeypatch, *COMMAND, "--dry-run") == 0
    program = "-m implementations.transfer.processes JOB.json 2 cpu"
    assert capsys.readouterr().out.strip().endswith(f"torch.distributed.run --standalone --nproc_per_node 2 {program}")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--cancel",), "--on accelerate has no use for --cancel; leave that out"),
        (("--config", "/nowhere.yml"), "--config /nowhere.yml: no such file; give an accelerate configuration"),
        (("--student", "encoder"), "--student encoder: a classifier is trained by one process; take `distill run "),
        (("--teacher", "local:encoder", "--dry-run"), "--teacher local:encoder: a classifier is trained by one"),
        (("--config", CONFIGS / "fsdp.yml"), "--config: FSDP and DeepSpeed need GPUs, and none is here"),
    ],
)
def test_bad_input(extra, message, monkeypatch, capsys):
    assert distill(monkeypatch, *COMMAND, *extra) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"error: {message}")


@pytest.mark.parametrize("name", ["fsdp", "deepspeed"])
def test_the_configurations_are_ones_that_accelerate_reads(name):
    """Every key is known to it: a wrong one ends the launch on the machine where it matters."""
    from accelerate.commands.config.config_args import load_config_from_file

    path = CONFIGS / f"{name}.yml"
    config = load_config_from_file(str(path))
    assert config.distributed_type.value == name.upper()
    given = yaml.safe_load(path.read_text())[f"{name}_config"]
    assert getattr(config, f"{name}_config") == given
