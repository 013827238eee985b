"""`distill launch --on vertex`: the job's own container command runs here as a process, in a folder that has nothing of
this checkout but what the launcher uploaded, against a server of the tests' own for Vertex AI and Cloud Storage."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from builder_samples import make_record
from commands import distill
from loopback import Break, Loopback, echo
from platforms import KEY, PLATFORMS, serving
from protocols import vertex as protocol
from test_run import ARMS

from implementations import progress, record
from implementations.compute import package, vertex, vertex_order
from implementations.compute.vertex_worker import CACHE, LINKS, WORK, Mirror
from implementations.evaluation import report
from implementations.progress import Stages
from implementations.tasks import packages
from implementations.teachers import encoder
from implementations.teachers.answered import AnsweredTeacher
from implementations.teachers.collect import Collector
from implementations.teachers.ledger import Ledger
from implementations.teachers.teacher import Answer, Kind, Request

JOBS = "POST /v1/projects/proj/locations/us-central1/customJobs"
GPU = ("--machine", "a2-highgpu-1g", "--accelerator", "NVIDIA_TESLA_A100", "--count", 1, "--spot")
COMMAND = ("launch", "sequence-level", "--on", "vertex", *GPU)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(vertex, "FIRST_POLL", 0.1)
    monkeypatch.setattr(vertex, "LAST_POLL", 0.1)
    monkeypatch.setattr(vertex, "wait_random_exponential", lambda **_: lambda state: 0.0)
    monkeypatch.delenv("GOOGLE_CLOUD_LOCATION", raising=False)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A copy of the code, in which a test may change what the job's machine will run."""
    copy = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "records")
    shutil.copytree(record.ROOT / "implementations", copy / "implementations", ignore=ignored)
    shutil.copy(record.ROOT / "pyproject.toml", copy)
    monkeypatch.setattr(vertex_order, "ROOT", copy)

    def change(path: str, old: str, new: str) -> None:
        file = copy / "implementations" / path
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))

    change("compute/vertex_worker.py", "PAUSE = 20.0", "PAUSE = 0.05")
    return change


@pytest.fixture
def serve(start, monkeypatch, tmp_path, request):
    """Starts Vertex AI and Cloud Storage with machines, and points the environment there."""

    def serve(fault=lambda n, call: None, **how) -> protocol.Machines:
        machines = protocol.Machines(tmp_path / "machines", {}, **how)
        request.addfinalizer(machines.close)
        server = start(protocol.respond(echo, machines=machines), fault)
        for variable, value in PLATFORMS["vertex"].environment(server.url, tmp_path).items():
            monkeypatch.setenv(variable, value)
        # A machine has an account of its own, and neither this process' environment nor its keys.
        own = PLATFORMS["vertex"].environment(server.url, tmp_path)
        names = ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK", "CLOUDSDK_CONFIG")
        paths = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        machines.environment |= {"PATH": paths, **{name: own[name] for name in names}}
        machines.server = server
        return machines

    return serve


@pytest.fixture
def own(tmp_path):
    """The user's own prompts, half with an expert's answer."""
    rows = [{"id": f"g{i}", "prompt": f"note {i} says so", "reference": "fine"} for i in range(10)]
    rows += [{"id": f"t{i}", "prompt": f"note {i} says this"} for i in range(12)]
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def api(server: Loopback):
    return server.respond.__self__


def requests(server: Loopback) -> list[dict]:
    """What was sent to make a job."""
    return [call.json for call in server.calls if f"{call.method} {call.path}" == JOBS]


def consoles(machines) -> str:
    """What machines showed, for a test that fails."""
    return "\n".join(path.read_text() for path in sorted(machines.folder.glob("*/console")))


def test_a_local_teacher_goes_along_and_a_record_comes_back(serve, source, tiny, tmp_path, monkeypatch, capsys):
    machines = serve()
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--student", 2, "--smoke", "--skip-empty")
    command += ("--workdir", tmp_path / "work", "--output", "gs://distillation/mine/")
    assert distill(monkeypatch, *command) == 0, capsys.readouterr().err + consoles(machines)
    [request] = requests(machines.server)
    name = request["displayName"]
    assert re.fullmatch(r"distill-sequence-level-[0-9a-f]{12}", name)
    place = f"gs://distillation/mine/{name}"
    [pool] = request["jobSpec"]["workerPoolSpecs"]
    arguments = ["run", "sequence-level", "--teacher", f"local:inputs/teacher/{tiny.name}", "--student", "2"]
    assert pool["containerSpec"]["args"] == [place, *arguments, "--seed", "0", "--smoke", "--skip-empty"]
    printed = capsys.readouterr()
    assert "Tune the teacher on 4 gold answers" in printed.err and "succeeded" in printed.err
    [folder] = (tmp_path / "work").glob(f"sequence-level-local-smoke-*-vertex-{name[-12:]}")
    assert (tmp_path / "work" / "latest").resolve() == folder
    assert f"report   {folder / 'report.html'}" in printed.out and f"student  {folder / 'student'}" in printed.out
    measured = record.load(folder / "record.json")
    assert {arm.kind for arm in measured.arms} == ARMS["sequence-level"]
    assert measured.teacher.name == tiny.name
    assert measured.command.startswith("distill launch sequence-level --on vertex --machine a2-highgpu-1g")
    assert measured.commit and measured.command.endswith(f"--workdir {tmp_path / 'work'}")  # and no bucket
    from implementations.teachers.local import load

    assert load(folder / "student", "cpu")[0].config.num_hidden_layers == 2

    shutil.rmtree(folder)  # the same command fetches it again, and starts nothing
    assert distill(monkeypatch, *command) == 0
    assert record.load(folder / "record.json") == measured and (folder / "student" / "model.safetensors").exists()
    assert len(requests(machines.server)) == machines.started == 1
    again = capsys.readouterr().err
    assert "found    projects/proj/locations/us-central1/customJobs/" in again and "Tune the teacher" not in again


def test_taken_away_while_it_trains_it_goes_on_and_asks_nobody_twice(serve, source, tiny, own, tmp_path, monkeypatch):
    """Claude is asked here. The machine is killed when a checkpoint is in the bucket; the next one resumes from it."""
    from rich.console import Console

    from implementations.workspace import Workspace

    source("transfer/config.py", "checkpoint_seconds: float = 60.0", "checkpoint_seconds: float = 0.0")
    source("recipes/arms.py", "steps=116", "steps=40")
    # Steps long enough that the worker sees a checkpoint before and after.
    clock = "last, self.now = self.now, time.monotonic()"
    source("transfer/trainer.py", clock, f"time.sleep(0.15); {clock}")
    with Workspace(tmp_path / "small", "test", Stages(Console(quiet=True)), "cpu") as work:
        small = work.cut(tiny, 2)
    marks = []

    def preempt(stored):
        if found := re.search(r"work/models/(trained-\w+)/checkpoint-(\d+)/WHOLE", stored):
            marks.append((found[1], int(found[2])))
        return len(marks) == 1 and bool(found)

    with serving("claude", echo, tmp_path, monkeypatch) as claude:
        machines = serve(preempt=preempt)
        command = (*COMMAND, "--teacher", PLATFORMS["claude"].teacher, "--student", small, "--prompts", own)
        command += ("--allow-cloud", "--workdir", tmp_path / "work", "--max-new-tokens", 24)
        command += ("--instruction", "Summarize.", "--budget-usd", 1, "--price-input", 1, "--price-output", 5)
        assert distill(monkeypatch, *command) == 0, consoles(machines)
        asked = [call.json["messages"][0]["content"] for call in claude.calls if PLATFORMS["claude"].asks(call)]
        everything = str(json.dumps(requests(machines.server))).encode() + consoles(machines).encode()
        everything += b"".join(api(machines.server).files.values())
    assert KEY.encode() not in everything and protocol.TOKEN.encode() not in everything
    assert machines.started == 2 and len(requests(machines.server)) == 1
    assert len(asked) == len(set(map(str, asked))) == 14  # 12 to learn from and 2 held out
    (model, step), *later = marks
    steps = [number for other, number in later if other == model]
    assert steps and min(steps) > step  # it did not begin again
    [folder] = (tmp_path / "work").glob("sequence-level-claude-*-vertex-*")
    measured = record.load(folder / "record.json")
    assert measured.collection.asked == 12 and measured.collection.usd > 0 and measured.student.name == small.name
    for arm in measured.arms:
        assert all(len(curve.loss) == 40 for curve in arm.training)
    assert not any("checkpoint-" in name for name in api(machines.server).files)


def test_of_a_committee_models_go_along_and_claude_is_asked_here(serve, source, tiny, tmp_path, monkeypatch, capsys):
    """Two models of one name and Claude, from here to the record; the machine has no key, and asks nobody."""
    (twin := tmp_path / tiny.name).mkdir()
    for path in tiny.iterdir():
        shutil.copy(path, twin)
    claude = PLATFORMS["claude"].teacher
    command = ("launch", "multi-teacher", "--on", "vertex", *GPU, "--teacher", claude, "--teacher", f"local:{tiny}")
    command += ("--teacher", f"local:{twin}", "--student", 2, "--smoke", "--skip-empty", "--workdir", tmp_path / "work")
    with serving("claude", echo, tmp_path, monkeypatch) as asked:
        machines = serve()
        assert distill(monkeypatch, *command) == 0, capsys.readouterr().err + consoles(machines)
        here = sum(map(PLATFORMS["claude"].asks, asked.calls))
    [request] = requests(machines.server)
    [pool] = request["jobSpec"]["workerPoolSpecs"]
    expected = ["run", "multi-teacher", "--teacher", claude, "--teacher", f"local:inputs/teacher/{tiny.name}"]
    expected += ["--teacher", f"local:inputs/teacher1/{tiny.name}"]
    expected += ["--answered", f"{claude}@{asked.url.removeprefix('http://')}", "--student", "2"]
    assert pool["containerSpec"]["args"][1:] == [*expected, "--seed", "0", "--smoke", "--skip-empty"]
    assert KEY.encode() not in json.dumps(request).encode() + b"".join(api(machines.server).files.values())
    [folder] = (tmp_path / "work").glob("multi-teacher-*-vertex-*")
    measured = record.load(folder / "record.json")
    assert {arm.kind for arm in measured.arms} == ARMS["multi-teacher"]
    names = [member.name for member in measured.members]
    assert len(names) == 7 and sum("tuned on" in name for name in names) == 4  # each model sits there three times
    assert here == len(set(map(str, (call.json for call in asked.calls if PLATFORMS["claude"].asks(call))))) > 0


def job_name(monkeypatch, capsys, *command: object) -> str:
    """What the command's job is called."""
    capsys.readouterr()
    assert distill(monkeypatch, *command, "--dry-run") == 0
    return json.loads(capsys.readouterr().out)["displayName"]


def leave(server: Loopback, name: str, run: str = "sequence-level-local-0123abcd") -> dict[str, bytes]:
    """Put into the bucket what a job of that name leaves there; everything that is there."""
    links = {"latest": run, f"{run}/student": "../models/trained-1/model"}
    left = {
        LINKS: json.dumps(links),
        f"{WORK}{run}/record.json": make_record().model_dump_json(),
        f"{WORK}models/trained-1/model/config.json": "{}",
    }
    files = api(server).files
    files |= {f"{vertex_order.FOLDER}/{name}/{path}": text.encode() for path, text in left.items()}
    return files


def test_runs_on_two_machines_are_two_folders_and_two_records(serve, tiny, tmp_path, monkeypatch, capsys):
    """Though they are one run by its own name, on one day."""
    machines = serve(command=["true"])
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(report, "write", lambda folder: folder)
    names = []
    for gpu in ("NVIDIA_L4", "NVIDIA_TESLA_A100"):
        command = ("launch", "sequence-level", "--on", "vertex", "--machine", "m", "--accelerator", gpu)
        command += ("--teacher", f"local:{tiny}", "--student", 2, "--record", "--workdir", tmp_path / "work")
        names.append(job_name(monkeypatch, capsys, *command)[-12:])
        leave(machines.server, f"distill-sequence-level-{names[-1]}")
        assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
    folders = {path.name for path in (tmp_path / "work").iterdir() if path.is_dir() and not path.is_symlink()}
    assert folders == {f"sequence-level-local-0123abcd-vertex-{name}" for name in names}
    day = f"{make_record().date:%Y-%m-%d}"
    written = {path.name for path in (tmp_path / "records").iterdir()}
    assert written == {f"sequence-level-local-{day}-0123abcd-vertex-{name}.json" for name in names}


def test_a_job_whose_files_were_deleted(serve, tiny, tmp_path, monkeypatch, capsys):
    machines = serve(command=["true"])
    monkeypatch.setattr(report, "write", lambda folder: folder)
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--smoke", "--workdir", tmp_path / "work")
    files = leave(machines.server, name := job_name(monkeypatch, capsys, *command))
    assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
    for there in (lambda path: path.endswith(LINKS), lambda path: False):  # a part of them, then none
        for path in [path for path in files if not there(path)]:
            del files[path]
        assert distill(monkeypatch, *command) == 2
        said = rf"/{name}: the files of projects/\S+/customJobs/\d+ are gone; delete that job in Vertex AI, and the"
        assert re.search(said, capsys.readouterr().err)
    assert machines.started == 1
    api(machines.server).customs.clear()
    distill(monkeypatch, *command)
    assert machines.started == 2


def test_a_full_disk_is_said_at_once(serve, tiny, tmp_path, monkeypatch, capsys):
    machines = serve(command=["true"])
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--smoke", "--workdir", tmp_path / "work")
    name = job_name(monkeypatch, capsys, *command)
    leave(machines.server, name)
    folder = tmp_path / "work" / f"sequence-level-local-0123abcd-vertex-{name[-12:]}"
    folder.mkdir(parents=True)
    (folder / "record.json.part").symlink_to("/dev/full")
    assert distill(monkeypatch, *command) == 2
    assert f"{folder}: the disk is full; free some space (or give --workdir" in capsys.readouterr().err
    assert sum("record.json" in call.path for call in machines.server.calls) == 1


def test_a_run_that_fails_says_why_and_the_same_command_starts_another_job(
    serve, source, tiny, tmp_path, monkeypatch, capsys
):
    machines = serve()
    broken = shutil.copytree(tiny, tmp_path / "broken")  # which is not seen before somebody loads it
    (broken / "model.safetensors").write_text("0123456789")
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--student", broken, "--smoke", "--workdir", tmp_path / "work")
    assert distill(monkeypatch, *command) == 2
    printed = capsys.readouterr().err
    assert "is FAILED: --student inputs/student/broken: cannot be loaded (SafetensorError: " in printed
    machines.command = ["sh", "-c", "exit 3"]
    assert distill(monkeypatch, *command) == 2
    printed = capsys.readouterr().err
    assert "is FAILED; this is another attempt" in printed
    assert "exited with a non-zero status of 3" in printed and "cannot be loaded" not in printed
    assert len(requests(machines.server)) == 2


def test_cancelled(serve, tiny, tmp_path, monkeypatch, capsys):
    machines = serve(command=["sleep", "600"])
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--smoke", "--workdir", tmp_path / "work")
    assert distill(monkeypatch, *command, "--cancel") == 2
    assert "--cancel: no job distill-sequence-level-" in capsys.readouterr().err

    def interrupt(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(vertex.time, "sleep", interrupt)
        assert distill(monkeypatch, *command) == 130
    assert distill(monkeypatch, *command, "--cancel") == 0
    assert re.search(r"^projects/\S+ is CANCELLED$", capsys.readouterr().out, re.MULTILINE)
    [process] = machines.running.values()
    assert process.wait() != 0 and len(requests(machines.server)) == 1


def test_cancelled_while_it_runs_the_machine_sends_what_it_has_and_ends(serve, source, tiny, tmp_path, monkeypatch):
    machines = serve()
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--smoke", "--workdir", tmp_path / "work")

    def interrupt(seconds):
        if any(name.endswith(f"/{WORK}ledger.sqlite") for name in api(machines.server).files):
            raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(vertex.time, "sleep", interrupt)
        assert distill(monkeypatch, *command) == 130
    [name] = [name for name in api(machines.server).files if name.endswith(f"/{WORK}ledger.sqlite")]
    assert distill(monkeypatch, *command, "--cancel") == 0
    [process] = machines.running.values()
    assert process.wait() == 128 + 15, consoles(machines)
    (copy := tmp_path / "copy.sqlite").write_bytes(api(machines.server).files[name])
    with Ledger(copy):
        pass  # whole


def test_a_dry_run_prints_the_request_and_sends_nothing(serve, tiny, own, tmp_path, monkeypatch, capsys):
    from google.cloud.aiplatform_v1.types import CustomJob

    machines = serve(command=["sleep", "600"])
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--student", 2, "--prompts", own)
    command += (
        "--workdir",
        tmp_path / "work",
        "--output",
        "gs://distillation/here/",
        "--service-account",
        "me@proj.iam.gserviceaccount.com",
    )
    assert distill(monkeypatch, *command, "--dry-run") == 0
    assert not machines.server.calls
    shown = capsys.readouterr()
    assert "as it stands, the launch will be refused: your prompts would leave this machine" in shown.err
    printed = json.loads(shown.out)
    spec = printed["jobSpec"]
    machine = {"machineType": "a2-highgpu-1g", "acceleratorType": "NVIDIA_TESLA_A100", "acceleratorCount": 1}
    assert spec["workerPoolSpecs"][0]["machineSpec"] == machine and spec["scheduling"] == {"strategy": "SPOT"}
    assert spec["serviceAccount"] == "me@proj.iam.gserviceaccount.com"
    assert spec["workerPoolSpecs"][0]["containerSpec"]["args"][0] == f"gs://distillation/here/{printed['displayName']}"
    assert distill(monkeypatch, *command) == 2
    assert "your prompts would leave this machine" in capsys.readouterr().err
    assert not requests(machines.server)

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(vertex.time, "sleep", interrupt)
    assert distill(monkeypatch, *command, "--allow-cloud") == 130
    [sent] = requests(machines.server)
    assert CustomJob.from_json(json.dumps(sent)) == CustomJob.from_json(json.dumps(printed))


def test_an_answer_that_got_lost_does_not_make_two_jobs(serve, tiny, tmp_path, monkeypatch):
    broken = iter([Break.RESET, protocol.error(503, "UNAVAILABLE", "later")])
    machines = serve(
        lambda n, call: next(broken, None) if f"{call.method} {call.path}" == JOBS else None, command=["false"]
    )
    command = (*COMMAND, "--teacher", f"local:{tiny}", "--smoke", "--workdir", tmp_path / "work")
    assert distill(monkeypatch, *command) == 2
    assert len(requests(machines.server)) == 1 == machines.started


@pytest.mark.parametrize(
    "named",
    [
        ("--teacher", "local:encoder"),
        ("--student", "encoder"),
        ("--teacher", "claude:claude-haiku-4-5", "--student", "encoder", "--requests-per-second", 2),
    ],
)
def test_the_encoder_is_no_folder_and_its_package_goes_along(serve, tmp_path, monkeypatch, capsys, named):
    serve()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    path = packages.cache() / encoder.PACKAGE.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"the wheel")
    digest = hashlib.sha256(b"the wheel").hexdigest()
    monkeypatch.setattr(encoder, "PACKAGE", replace(encoder.PACKAGE, sha256=digest))
    orders = []
    monkeypatch.setattr(vertex, "order_of", lambda asked: orders.append(vertex_order.order_of(asked)) or orders[0])
    rows = [{"id": f"{i}", "prompt": f"mail {i}", "reference": ("ham", "spam")[i % 2]} for i in range(10)]
    rows += [{"id": f"t{i}", "prompt": f"a mail, {i}"} for i in range(12)]
    (mails := tmp_path / "mails.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert distill(monkeypatch, *COMMAND, "--prompts", mails, *named, "--dry-run") == 0, capsys.readouterr().err
    [order] = orders
    assert order.files[f"{CACHE}{packages.FOLDER}/{encoder.PACKAGE.file}"] == path
    arguments = order.request["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"]
    assert arguments[arguments.index(named[0]) + 1] == named[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--role", "x"), "--on vertex has no use for --role; leave that out"),
        (("--redact",), "--on vertex has no use for --redact; leave that out"),
        (("--device", "cpu"), "--on vertex has no use for --device; leave that out"),
        (("--output", "s3://a/b"), "--output s3://a/b: give a folder in Cloud Storage, gs://BUCKET/FOLDER"),
        (("--accelerator", "H100"), "--accelerator H100: choose one of: NVIDIA_TESLA_K80"),
        (("--student", "/nowhere"), "--student /nowhere: no such folder"),
        (("--prompts", "/nowhere.jsonl"), "--prompts /nowhere.jsonl: "),
        (("--teacher", "moon:x"), "--teacher moon:x: no such platform here"),
        (("--gold", 8, "--smoke"), "--smoke --gold"),
        (("--student", "encoder:2", "--count", 2), "--student encoder:2: a classifier is trained by one process; give"),
        (("--teacher", "local:encoder", "--count", 4), "--teacher local:encoder: a classifier is trained by one"),
    ],
)
def test_what_cannot_be_launched(serve, monkeypatch, capsys, options, message):
    machines = serve(command=["true"])
    assert distill(monkeypatch, *COMMAND, *options) == 2
    assert message in capsys.readouterr().err and not machines.server.calls


def test_a_bucket_of_no_such_name_is_named(serve, monkeypatch, capsys):
    serve()
    monkeypatch.setenv("GOOGLE_CLOUD_STORAGE_BUCKET", "My Bucket")
    assert distill(monkeypatch, *COMMAND, "--smoke") == 2
    assert "error: GOOGLE_CLOUD_STORAGE_BUCKET=My Bucket, and no --output: give a folder" in capsys.readouterr().err


def test_where_there_are_no_machines(serve, monkeypatch, capsys):
    serve()
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "global")
    assert distill(monkeypatch, *COMMAND, "--smoke") == 2
    assert "GOOGLE_CLOUD_LOCATION is global, which has no machines" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "reply", "message"),
    [
        ("/v1/projects", protocol.error(403, "PERMISSION_DENIED", "no"), "the account may use them (roles/aiplatform"),
        ("/v1/projects", protocol.error(429, "RESOURCE_EXHAUSTED", "slow down"), "HTTP 429: slow down; mend that or"),
        ("/upload", protocol.error(403, "PERMISSION_DENIED", "no"), "refused access to gs://distillation (HTTP 403)"),
        ("/nowhere", None, "there is no bucket gs://nowhere (HTTP 404)"),
    ],
)
def test_what_google_refuses(serve, tiny, monkeypatch, capsys, path, reply, message):
    serve(lambda n, call: reply if call.path.startswith(path) else None, command=["true"])
    output = ("--output", "gs://nowhere/x") if reply is None else ()
    assert distill(monkeypatch, *COMMAND, "--teacher", f"local:{tiny}", "--smoke", *output) == 2
    assert message in capsys.readouterr().err


def test_the_package_is_the_code_and_the_same_every_time(source):
    first = package.pack(["extra==1"], vertex_order.ROOT)
    assert first == package.pack(["extra==1"], vertex_order.ROOT)
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        names = set(tar.getnames())
        needed = tar.extractfile("requirements.txt").read().decode().splitlines()
    tracked = {"implementations/cli.py", "implementations/evaluation/report.html.j2", "implementations/registry.py"}
    assert tracked <= names and not any("records/" in name or "pycache" in name for name in names)
    assert "extra==1" in needed and any(line.startswith("torch==") for line in needed)
    source("registry.py", '"Sequence-level distillation"', '"Another title"')
    assert first != package.pack(["extra==1"], vertex_order.ROOT)


def test_half_a_model_in_the_bucket_is_not_taken_for_one(serve, tmp_path):
    files = api(serve().server).files
    from implementations.compute.storage import Folder

    files[f"j/{WORK}models/cut-1/model/config.json"] = b"{}"
    files[f"j/{WORK}models/cut-2/model/config.json"] = files[f"j/{WORK}models/cut-2/model/WHOLE"] = b""
    files[f"j/{WORK}models/cut-2/curve.json"] = b"{}"
    mirror = Mirror(tmp_path / "work", Folder(f"gs://{protocol.BUCKET}/j"))
    assert mirror.restore() == 2
    assert sorted(p.name for p in (tmp_path / "work").rglob("*") if p.is_file()) == ["config.json", "curve.json"]
    (tmp_path / "work/models/trained-3/model.part").mkdir(parents=True)
    (tmp_path / "work/models/trained-3/model.part/config.json").write_text("{}")
    (tmp_path / "work/lock").touch()
    mirror.sync()
    assert set(files) == {f"j/{WORK}models/cut-2/{name}" for name in ("model/config.json", "model/WHOLE", "curve.json")}


def test_a_ledger_that_goes_along_has_nothing_else_in_it(tmp_path):
    mine, other = Request("i", "mine", 8), Request("i", "another's", 8)
    with Ledger(tmp_path / "a.sqlite") as ledger:
        for request in (mine, other):
            ledger.add("claude:x", [(request, Answer("yes", Kind.COMPLETE, 1, 1))])
            ledger.write("claude:x", [(request.key("claude:x"), 0.25)], [])
        ledger.extract(tmp_path / "b.sqlite", "claude:x", [mine])
        assert len(ledger) == 2
    assert b"another's" not in (tmp_path / "b.sqlite").read_bytes()
    with Ledger(tmp_path / "b.sqlite") as ledger:
        assert ledger.known("claude:x", [mine, other]).keys() == {0} and ledger.spent("claude:x") == 0.25


def test_what_had_no_answer_when_the_run_was_launched_has_none_there(tmp_path):
    requests = [Request("i", "answered", 8), Request("i", "not answered", 8)]
    teacher = AnsweredTeacher("claude:x", "claude:x@elsewhere")
    with Ledger(tmp_path / "ledger.sqlite") as ledger, Collector(ledger) as collector:
        ledger.add(teacher.identity, [(requests[0], Answer("yes", Kind.COMPLETE, 1, 1))])
        answers = collector.collect(teacher, requests).answers
    assert [answer.kind for answer in answers] == [Kind.COMPLETE, Kind.FAILED]
    assert answers[1].reason == "it had no answer when the run was launched, and none in its log"


def test_where_nobody_watches_a_stage_says_how_far_it_is(monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with Stages(Console()).stage("Train", 3) as advance:
        advance(2)
    assert capsys.readouterr().out == "Train\nTrain: 2 of 3\n"
