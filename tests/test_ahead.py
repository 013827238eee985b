"""What a command refuses before torch is loaded and before anything is asked: nothing here loads it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import distill

from implementations import cli, own_prompts, settings, workdir
from implementations import record as records
from implementations.delivery import copy as copying
from implementations.errors import InputError
from implementations.evaluation import report as written
from implementations.figures import many
from implementations.options import Options
from implementations.tasks.task import Item
from implementations.teachers import named
from implementations.teachers.ledger import Ledger
from implementations.teachers.open import open_remote
from implementations.workdir import lock


@pytest.fixture(autouse=True)
def no_torch(monkeypatch, tmp_path):
    """Nothing heavy may be loaded, and relative paths are the test's own."""
    monkeypatch.setattr(cli, "_load_libraries", lambda: pytest.fail("nothing is loaded for it"))
    monkeypatch.chdir(tmp_path)


def write(path: Path, gold: int = 12, free: int = 12, reference: str = "seen", prompt: str = "note") -> Path:
    """Own prompts: so many with the reference, so many without."""
    rows = [{"id": f"g{i}", "prompt": f"{prompt} {i}", "reference": reference} for i in range(gold)]
    rows += [{"id": f"f{i}", "prompt": f"{prompt} free {i}"} for i in range(free)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(monkeypatch, capsys, *command: object) -> str:
    """What is said of ``command``, which ends with status 2."""
    assert distill(monkeypatch, *command) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    return shown.removeprefix("error: ")


@pytest.mark.parametrize("command", [("run",), ("plan",), ("launch", "--on", "vertex")])
def test_prompts_alone_are_no_log(command, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl")
    said = refused(monkeypatch, capsys, command[0], "production-logs", *command[1:], "--prompts", prompts)
    assert said == "--prompts without --logs: production-logs learns from a log; give --logs, or take sequence-level"


@pytest.mark.parametrize("command", ["run", "plan", "check"])
@pytest.mark.parametrize(
    ("reference", "share"), [("Клинический случай, без осложнений.", "0%"), ("临床病例无并发症。ok", "20%")]
)
def test_references_in_a_script_that_is_not_scored(command, reference, share, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl", reference=reference)
    said = refused(monkeypatch, capsys, command, "sequence-level", "--prompts", prompts)
    assert said.startswith(f"{prompts}: {share} of the letters in its references are a to z") and "near zero" in said


@pytest.mark.parametrize("reference", ["Fièvre élevée, à revoir: très tôt.", "12", "ham"])
def test_references_that_are_scored(reference, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl", reference=reference)
    assert distill(monkeypatch, "plan", "sequence-level", "--prompts", prompts) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan", "check", "--production"])
@pytest.mark.parametrize("content", ["9" * 5000, "[" * 100_000])
def test_a_row_that_json_cannot_be_read_from(command, content, tmp_path, monkeypatch, capsys):
    good, bad = write(tmp_path / "good.jsonl"), write(tmp_path / "bad.jsonl")
    bad.write_text(bad.read_text() + f'{{"id": "x", "prompt": {content}}}\n')
    arguments = ("check", "--prompts", good, "--production", bad) if command == "--production" else (command,)
    arguments += () if command == "--production" else ("--prompts", bad)
    said = refused(monkeypatch, capsys, arguments[0], "sequence-level", *arguments[1:])
    assert said.startswith(f"{bad}:25: a number of thousands of digits, or thousands of brackets")


def test_so_in_a_log(tmp_path, monkeypatch, capsys):
    prompts, log = write(tmp_path / "gold.jsonl", free=0), tmp_path / "log.jsonl"
    log.write_text("[" * 100_000 + "\n")
    command = ("plan", "production-logs", "--prompts", prompts, "--logs", log, "--teacher", "claude:x")
    assert refused(monkeypatch, capsys, *command).startswith(f"--logs {log}: a number of thousands of digits, or")


def test_what_a_plan_redacts_is_never_committed_by_accident(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    prompts = write(tmp_path / "notes.jsonl", prompt="mail ann@example.org about")
    command = ("plan", "sequence-level", "--prompts", prompts, "--teacher", "langchain:openai:gpt-4.1-mini")
    assert distill(monkeypatch, *command, "--redact", "--workdir", tmp_path / "new") == 0, capsys.readouterr().err
    assert (tmp_path / "new" / "redacted.sqlite").is_file()
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"


def test_what_may_not_be_sent_and_the_lock_come_before_torch(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    prompts = write(tmp_path / "notes.jsonl")
    command = ("run", "sequence-level", "--prompts", prompts, "--workdir", tmp_path / "work")
    said = refused(monkeypatch, capsys, *command, "--teacher", "langchain:openai:gpt-4.1-mini")
    assert "your prompts would leave this machine" in said
    with lock(tmp_path / "work"):
        assert "another run is at work here" in refused(monkeypatch, capsys, *command)


def test_a_folder_that_cannot_be_made(monkeypatch, capsys):
    said = refused(monkeypatch, capsys, "run", "sequence-level", "--workdir", "/proc/x")
    assert said.startswith("/proc/x: cannot be written (No such file or directory); give --workdir a folder you own")


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (PermissionError(13, "Permission denied"), "(Permission denied); make it writable, or copy it elsewhere"),
        (OSError(28, "No space left on device"), "the disk is full; free some space and run the same command again"),
    ],
)
def test_a_report_that_cannot_be_written_suggests_no_workdir(error, mend, tmp_path, monkeypatch):
    """`distill report` has none."""

    def fail(*_: object) -> None:
        raise error

    for name in ("_record", "_items", "render"):
        monkeypatch.setattr(written, name, lambda *_: None)
    monkeypatch.setattr(records, "write_atomic", fail)
    with pytest.raises(InputError) as said:
        written.write(tmp_path)
    assert str(said.value).endswith(mend)


def model(folder: Path, **config: object) -> Path:
    """A folder that looks like a model."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    for name in ("tokenizer_config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    return folder


MODELS = [
    (("--teacher", "local:nosuch"), "--teacher local: nosuch: no such folder; give a folder with config.json"),
    (("--student", "nosuch"), "--student nosuch: no such folder; give a folder with config.json"),
    (("--student", "0"), "--student: a student of 0 layers cannot be cut from 30; ask for 1 to 30"),
    (("--student", "99"), "--student: a student of 99 layers cannot be cut from 30; ask for 1 to 30"),
    (("--student", "-3"), "--student -3: give a whole number of layers, or the folder of a model"),
    (("--student", "10.5"), "--student 10.5: give a whole number of layers, or the folder of a model"),
    (("--student", "²"), "--student ²: give a whole number of layers, or the folder of a model"),
    (("--student", "bare"), "--student bare: no model (config.json, tokenizer_config.json, *.safetensors missing)"),
    (("--teacher", "local:broken"), "--teacher local: broken: config.json is no JSON object; give a folder"),
    (("--teacher", "local:four"), "--student: a student of 10 layers cannot be cut from 4; ask for 1 to 4"),
    (("--teacher", "local:four", "--student", "5"), "--student: a student of 5 layers cannot be cut from 4"),
    (("--student", "encoder"), "Clinical note summarization (synthetic notes): its answers are no labels"),
    (("--student", "encoder:7"), "Clinical note summarization (synthetic notes): its answers are no labels"),
    (("--teacher", "local:resnet"), "--teacher local:resnet: it reads images, and the prompts of"),
    (("--teacher", "local:nosuch", "--student", "nosuch"), "--teacher local: nosuch: no such folder"),
]


@pytest.mark.parametrize("command", [("run",), ("plan",), ("launch", "--on", "vertex", "--dry-run")])
@pytest.mark.parametrize(("given", "message"), MODELS)
def test_models_that_cannot_be_had(command, given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    monkeypatch.setenv("GOOGLE_CLOUD_STORAGE_BUCKET", "bucket")
    (tmp_path / "bare").mkdir()
    (model(tmp_path / "broken") / "config.json").write_text("[]")
    model(tmp_path / "four", num_hidden_layers=4)
    assert message in refused(monkeypatch, capsys, command[0], "sequence-level", *command[1:], *given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--teacher", "local:nosuch"), "--teacher local: nosuch: no such folder"),
        (("--teacher", "claude:x", "--assistant", "nosuch"), "--assistant nosuch: no such folder"),
        (("--teacher", "local:resnet"), "--teacher local:resnet: it reads images, and the prompts of notes.jsonl are"),
    ],
)
def test_models_that_check_cannot_have(given, message, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl")
    assert message in refused(monkeypatch, capsys, "check", "response-based", "--prompts", prompts, *given)


class Digits:
    """Enough of --task digits: its data need not be there."""

    title, images, labels = "Images of digits", True, ("0", "1")


def test_images_need_a_model_of_images():
    given = {field.name: None for field in dataclasses.fields(Options)}
    given |= {"pattern": "response-based", "others": (), "logs": ()}
    for teacher, student in (("local", None), ("claude:x", None), ("local:resnet", "encoder"), ("local:resnet", "9")):
        with pytest.raises(InputError, match=r"it reads text, and the prompts of Im|of 9 layers .* ask for 8 or 14"):
            named.check(Options(**given | {"teacher": teacher, "student": student}), Digits())
    for student in (None, "8", "14", "20", "resnet:8"):
        named.check(Options(**given | {"teacher": "local:resnet", "student": student}), Digits())
    with pytest.raises(InputError, match="on-policy teaches models that write"):
        named.check(Options(**given | {"teacher": "local:resnet", "pattern": "on-policy"}), Digits())


def test_what_is_said_without_torch_is_what_is_said_with_it():
    from implementations.teachers import embedded, local
    from implementations.transfer import classifier

    assert named.EXPECTED == local.EXPECTED and named.IMAGES == classifier.PROCESSOR
    assert embedded.NAME in embedded.gguf().name  # whose header is read next
    import gguf

    fields = gguf.GGUFReader(embedded.gguf()).fields
    keys = {"num_hidden_layers": "llama.block_count", "max_position_embeddings": "llama.context_length"}
    assert {name: int(fields[key].contents()) for name, key in keys.items()} == named.EMBEDDED


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("plan", "--price-input"),
        ("plan", "--price-output"),
        ("run", "--budget-usd"),
        ("run", "--requests-per-second"),
        ("check", "--gpu-hours"),
        ("check", "--gpu-hour-usd"),
        ("check", "--serving-usd"),
        ("check", "--payback-months"),
    ],
)
def test_numbers_are_finite(command, option, value, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl")
    said = refused(monkeypatch, capsys, command, "sequence-level", "--prompts", prompts, f"{option}={value}")
    assert said.startswith(f"{option} {float(value)}: give a finite number") or f"'{option}'" in said  # or below 0


@pytest.fixture
def planned(tmp_path, monkeypatch, capsys):
    """What a plan says with a teacher behind a platform, in one line."""
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    prompts = write(tmp_path / "notes.jsonl")

    def plan(*given: object, teacher: str = "langchain:openai:gpt-4.1-mini") -> str:
        command = ("plan", "sequence-level", "--prompts", prompts, "--teacher", teacher, "--workdir", tmp_path / "work")
        assert distill(monkeypatch, *command, *given) == 0, capsys.readouterr().err
        return " ".join(capsys.readouterr().out.split())

    return plan


def test_a_plan_says_where_the_budget_ends_the_run(planned, tmp_path):
    own = ("--price-input", 0, "--price-output", 10_000, "--max-new-tokens", 100)  # a dollar for an answer
    assert "$0; it ends the run after about 0 of 15 requests" in planned(*own, "--budget-usd", 0).replace("$0.00", "$0")
    assert "it ends the run after about 4 of 15 requests" in planned(*own, "--budget-usd", 4.5)
    assert "ends the run" not in planned(*own, "--budget-usd", 15)
    assert "ends the run" not in planned("--price-input", 0, "--price-output", 0, "--budget-usd", 0)
    with Ledger(tmp_path / "work" / "ledger.sqlite") as ledger:
        teacher = open_remote("langchain:openai:gpt-4.1-mini")
        ledger.write(teacher.identity, [("elsewhere", 2.0)], [])
    assert "it ends the run after about 2 of 15 requests" in planned(*own, "--budget-usd", 4.5)
    assert "price --price-input and --price-output" in planned(*own) and "None" not in planned(*own)


def test_a_plan_refuses_a_budget_that_cannot_be_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    command = ("plan", "sequence-level", "--teacher", "langchain:openai:nobody-knows", "--budget-usd", 5)
    assert "--budget-usd: the price of langchain:openai:nobody-knows is not known" in refused(
        monkeypatch, capsys, *command, "--workdir", tmp_path / "work"
    )


def test_one_prompt_is_no_prompts():
    assert (many(1, "prompt"), many(0, "prompt"), many(1200, "prompt")) == ("1 prompt", "0 prompts", "1,200 prompts")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"gold": 0}, '0 rows with a "reference", at least 8 are needed'),
        ({"free": 0}, '0 rows without a "reference", at least 8 are needed'),
        ({"gold": 7}, '7 rows with a "reference", at least 8 are needed'),
        ({}, None),
    ],
)
def test_check_refuses_the_rows_that_a_run_refuses(rows, said, tmp_path, monkeypatch, capsys):
    prompts = write(tmp_path / "notes.jsonl", **rows)
    command = ("sequence-level", "--prompts", prompts)
    status = distill(monkeypatch, "check", *command, "--json")
    found = json.loads(capsys.readouterr().out)
    refusals = [check for check in found["checks"] if check["name"] == "rows"]
    if said is None:
        assert not refusals
        return
    assert status == cli.EXIT_NO_GO == 1 and found["decision"] == "no-go"
    assert [check["what"] for check in refusals] == [f"{prompts}: {said}"]
    assert f"{prompts}: {said}; {refusals[0]['mend']}" == refused(monkeypatch, capsys, "plan", *command)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_while_torch_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_load_libraries", interrupt)
    assert distill(monkeypatch, "run", "sequence-level", "--workdir", tmp_path / "work") == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on where this one stopped\n"


@pytest.mark.parametrize("command", ["check", "plan", "export", "report", "copy"])
def test_an_interrupt_is_one_line(command, tmp_path, monkeypatch, capsys):
    for name in ("read_rows", "readable"):
        monkeypatch.setattr(own_prompts, name, interrupt)
    monkeypatch.setattr(settings, "readable", interrupt)
    monkeypatch.setattr(written, "write", interrupt)
    monkeypatch.setattr(copying, "copy", interrupt)
    monkeypatch.setattr(cli, "check_finished", interrupt)
    (tmp_path / "record.json").touch()
    prompts = write(tmp_path / "notes.jsonl")
    arguments = {
        "check": ("sequence-level", "--prompts", prompts),
        "plan": ("sequence-level", "--prompts", prompts),
        "export": (tmp_path, "--to", "gguf"),
        "report": (tmp_path,),
        "copy": ("sequence-level", tmp_path / "copy", "--platform", "local"),
    }
    assert distill(monkeypatch, command, *arguments[command]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_no_run_to_export_is_said_without_torch(tmp_path):
    script = (
        "import sys\nfrom implementations import cli\nsys.argv = ['distill', 'export', 'nosuch', '--to', 'gguf']\n"
        "try:\n    cli.main()\nexcept SystemExit as stop:\n    assert stop.code == 2\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=records.ROOT)
    assert run.returncode == 0 and "nosuch: no finished run (record.json, items.jsonl, student missing)" in run.stderr


def test_a_plan_warns_of_prompts_that_are_too_long(planned, tmp_path):
    """By the model on this machine, where the teacher is elsewhere by that which the student is cut from."""
    prompts = tmp_path / "notes.jsonl"
    long = [{"id": "long", "prompt": "x" * 4 * 8100}, {"id": "longer", "prompt": "x" * 4 * 8200}]
    prompts.write_text(prompts.read_text() + "\n" + "".join(json.dumps(row) + "\n" for row in long))
    model(tmp_path / "four", num_hidden_layers=4, max_position_embeddings=8150)
    line = f"{prompts}:27: 'longer' has about 8,336 tokens with its answer, and the model takes 8,192; shorten it, or"
    shown = planned()
    assert f"warning {line}" in shown and ":26:" in shown  # 8,100 and 8, and 128 for the answer
    assert ":26:" not in planned("--max-new-tokens", 84) and ":27:" in planned("--max-new-tokens", 84)
    assert "takes 8,150" in planned("--student", "2", teacher="local:four")
    assert "takes 8,150" in planned("--student", "four")


def test_two_of_a_kind(tmp_path):
    given = {field.name: None for field in dataclasses.fields(Options)}
    given |= {"pattern": "response-based", "teacher": "local", "others": (), "logs": (), "student": "encoder"}
    labels = own_prompts.Rows("labels", [Item(str(i), "x", "ab"[i % 2]) for i in range(8)])
    with pytest.raises(InputError, match="give two of a kind"):
        named.check(Options(**given), labels)
    named.check(Options(**given | {"pattern": "sequence-level"}), labels)


def test_a_workdir_that_ignores_files_already_keeps_what_it_says(tmp_path):
    (tmp_path / ".gitignore").write_text("mine\n")
    workdir.prepare(tmp_path)
    workdir.prepare(tmp_path / "new")
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
