"""One run from options to record: what `distill run` does once the command line is read."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import torch
from rich.console import Console
from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from . import privacy
from . import record as records
from .ahead import Ready, look
from .errors import InputError, disk_errors
from .evaluation import environment, serving
from .evaluation.cascade import measure as measure_cascade
from .evaluation.measure import Added, Scoreboard, verdict
from .options import Options
from .own_prompts import too_long
from .progress import Stages
from .recipes.arms import STUDENT_LAYERS, Outcome, Setup
from .record import ArmKind, Model, Record, Serving, Stage, link, write_atomic
from .registry import ENGINE, RECIPES, TASKS, Signal
from .settings import Plan, recipe_of
from .tasks.task import Item, Task
from .teachers import committee, embedded, encoder, starts
from .teachers.answered import AnsweredTeacher
from .teachers.budget import OVERHEAD
from .teachers.local import EXPECTED, check_folder, load
from .teachers.named import SMOKE_LAYERS, check_reads, config_of, misfit
from .teachers.open import check_remote, leaves_machine, notes, open_remote
from .teachers.teacher import RemoteTeacher, Teacher
from .transfer.chat import prompt_ids
from .transfer.classifier import labels_in, layers_of
from .transfer.device import compute_dtype, pick_device
from .transfer.job import shared_vocabulary
from .workspace import Workspace


def execute(options: Options, console: Console, ready: Ready | None = None) -> tuple[Path, Record]:
    """Run, and write the run's folder: record.json, items.jsonl, and a link to the student.

    ``ready`` is what was looked at already. Interrupted anywhere and called again it goes on where it was. Raises
    InputError.
    """
    stages = Stages(console)
    dtype = _check_device(options.device)
    task, plan = ready or look(options)
    code, commit = records.code_sha256(options.pattern, task=task.name), environment.commit()
    engine = records.files_sha256(ENGINE)
    with Workspace(options.workdir, engine, stages, options.device, options.spending, options.processes) as work:
        return _execute(options, console, work, task, plan, dtype, code, commit)


def _execute(
    options: Options,
    console: Console,
    work: Workspace,
    task: Task,
    plan: Plan,
    dtype: str,
    code: str,
    commit: str | None,
) -> tuple[Path, Record]:
    teachers = _teachers(options, work, task)
    remote = [teacher for teacher in teachers if isinstance(teacher, RemoteTeacher)]
    for teacher in remote:
        check_remote(options, teacher)
    for line in (line for teacher in remote for line in notes(teacher)):
        console.print(line)
    if options.prompts and any(map(leaves_machine, remote)):
        console.print(f"leaves   in your prompts: {privacy.summary(item.prompt for item in task.items)}")
    if remote and options.redact and not options.logs:  # logs are redacted when they are read
        work.redactor = privacy.Redactor(options.workdir / "redacted.sqlite")
    if options.logs:
        for line in task.notes():
            console.print(line)
    base, base_name = _base(options, work, task, teachers)
    start, student_name = _student(options, work, task, base, base_name)
    _check_fit(options.pattern, start, base)
    if options.prompts and not options.logs:
        _check_lengths(options, task, {start, *(teacher.folder for teacher in teachers if teacher.folder)})
    described = {
        "pattern": options.pattern,
        "code": code,
        "task": [task.name, task.instruction, task.max_new_tokens],
        "teachers": [teacher.identity for teacher in teachers],
        "student": work.identity(start),
        "base": work.identity(base) if base else None,
        "plan": asdict(plan),
        "device": pick_device(options.device).type,
        "dtype": dtype,
        "redact": options.redact,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()
    platform = options.teacher.partition(":")[0]
    folder = options.workdir / f"{options.pattern}-{platform}-{'smoke-' if options.smoke else ''}{digest[:8]}"
    if (folder / "record.json").exists():
        console.print(f"{folder} is finished; delete it to run again")
        link(options.workdir / "latest", folder)
        try:
            return folder, records.load(folder / "record.json")
        except records.RecordError as error:
            raise InputError(
                f"{str(error).rpartition(';')[0]}; delete {folder} and run the same command again"
            ) from error
    setup = Setup(
        work=work,
        task=task,
        teacher=teachers[0],
        others=tuple(teachers[1:]) + _completing(work, teachers, base, base_name, options.pattern),
        base=base,
        start=start,
        sizes=plan.sizes,
        seeds=plan.seeds,
        teacher_training=plan.teacher_training,
        student_training=plan.student_training,
        rates=plan.rates,
        skip_empty=options.skip_empty,
        keep_truncated=options.smoke,
    )
    outcome = recipe_of(options).run(setup)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        heldout = next(iter(outcome.slices.values()))
        served = _serving(work, folder, outcome, task, heldout, plan)
        board = Scoreboard(task, outcome.slices, outcome.arms, outcome.reference)
        described = {
            "commit": commit,
            "code_sha256": code,
            "pattern": options.pattern,
            "platform": platform,
            "command": options.command,
            "settings": _settings(options),
        }
        learnt_from = _model(" and ".join(teacher.name for teacher in teachers), outcome.teacher, dtype)
        student = _model(student_name, outcome.student, dtype)
        record = _record(described, plan, task, outcome, board, served, learnt_from, student)
        _write_items(folder / "items.jsonl", task, outcome)
        link(folder / "student", outcome.student)
        records.save(record, folder / "record.json")
        link(options.workdir / "latest", folder)
    return folder, record


def _check_device(device: str) -> str:
    """The precision that ``device`` computes in. Raises InputError when torch has no such device."""
    try:
        where = pick_device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        what = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(f"--device {device}: {what}; give auto, cpu or cuda") from error
    return str(compute_dtype(where)).removeprefix("torch.")


def _settings(options: Options) -> dict[str, str]:
    """The options that make this another experiment than the recipe's own; where it ran is not among them."""
    changed = {"task": options.task, "gold": options.gold, "student": options.student, "seed": options.seed or None}
    platform, _, model = options.teacher.partition(":")
    changed["teacher"] = Path(model).name if platform == "local" and model else None
    changed["assistant"] = options.assistant and options.assistant.resolve().name
    return {name: str(value) for name, value in changed.items() if value is not None}


def _teachers(options: Options, work: Workspace, task: Task) -> list[Teacher]:
    """What every --teacher names, or the one whose log is there."""
    if options.logs:
        return [AnsweredTeacher(options.teacher, f"{options.teacher} in {task.name}")]
    identities = iter(options.answered)
    return [
        AnsweredTeacher(spec, next(identities))
        if options.answered and spec.partition(":")[0] != "local"
        else _teacher(spec, work, task)
        for spec in options.teachers
    ]


def _teacher(spec: str, work: Workspace, task: Task) -> Teacher:
    """The model that answers: the embedded one, ``local:PATH``, a start (see starts.py), or one behind a platform."""
    platform, _, model = spec.partition(":")
    check_reads("--teacher", spec, task)
    if platform != "local":
        return open_remote(spec)
    if starts.classifies(model):
        return work.model(*_classifier(model, "--teacher local:", work, task))
    if not model:
        return work.model(embedded.unpack(work.root, work.stages), embedded.NAME)
    return work.model(_check_model(Path(model), "--teacher local:"), Path(model).resolve().name)


def _classifier(spec: str, option: str, work: Workspace, task: Task) -> tuple[Path, str]:
    """The classifier of the labels of ``task`` that ``spec`` names, or one made of the encoder it names; and its name.

    Raises InputError where the answers of the task are no labels, or not the classifier's.
    """
    labels = starts.labels_of(task)
    if found := starts.named(spec):
        start, layers = found
        folder, name = start.unpack(work.root, work.stages), start.NAME
    else:
        layers, folder = None, Path(spec.removeprefix("local:"))
        name = folder.resolve().name
    if encoder.kind(folder) == "encoder":
        whole = work.classifier(folder, labels)
        return (work.cut(whole, layers), _kept(name, layers)) if layers else (whole, name)
    if (has := labels_in(folder)) != labels:
        raise InputError(
            f"{option}{folder}: its labels are {', '.join(has)}, those of {task.title} {', '.join(labels)}; give the "
            "encoder that it was made of"
        )
    return folder, name


def _base(options: Options, work: Workspace, task: Task, teachers: list[Teacher]) -> tuple[Path | None, str]:
    """The open model that students are cut from, and its name: the first teacher whose weights are here.

    Else the assistant that bridges what a platform does not give, or completes a committee; None where neither is
    needed.
    """
    for teacher in teachers:
        if teacher.folder:
            return teacher.folder, teacher.name
    if options.assistant:
        return _check_model(options.assistant, "--assistant"), options.assistant.resolve().name
    recipe = RECIPES[options.pattern]
    if recipe.needs is not Signal.TEXT and starts.student_classifies(options):
        return _classifier(starts.start_of(task).SPEC, "--assistant ", work, task)
    needed = recipe.needs is not Signal.TEXT or (recipe.committee and len(teachers) < committee.LEAST)
    return (embedded.unpack(work.root, work.stages) if needed else None), embedded.NAME


def _completing(
    work: Workspace, teachers: list[Teacher], base: Path | None, base_name: str, pattern: str
) -> tuple[Teacher, ...]:
    """The open model that makes a committee of too few teachers behind platforms a committee, if that is one."""
    few = len(teachers) < committee.LEAST and not any(teacher.folder for teacher in teachers)
    return (work.model(base, base_name),) if RECIPES[pattern].committee and few else ()


def _student(options: Options, work: Workspace, task: Task, base: Path | None, base_name: str) -> tuple[Path, str]:
    """The untrained student's folder and name: any local model, or a number of the layers of ``base``.

    Where that is None, they are the embedded model's layers.
    """
    default = SMOKE_LAYERS if options.smoke else STUDENT_LAYERS
    if base and encoder.kind(base):
        start = starts.start_of(task)
        default = start.SMOKE_LAYERS if options.smoke else start.LAYERS
    spec = options.student or default
    if not spec.isdigit():
        check_reads("--student", spec, task)
    if starts.classifies(spec):
        return _classifier(spec, "--student ", work, task)
    if not spec.isdigit():
        path = _check_model(Path(spec), "--student")
        return path, path.resolve().name
    base = base or embedded.unpack(work.root, work.stages)
    try:
        return work.cut(base, int(spec)), _kept(base_name, int(spec))
    except AttributeError as error:
        raise InputError(
            f"--student {spec}: layers can be cut from models built like Llama, which {base} is not; give --student "
            "the folder of a smaller model"
        ) from error


def _kept(name: str, layers: int) -> str:
    return f"{name}, {layers} layers kept"


def _check_fit(pattern: str, start: Path, base: Path | None) -> None:
    """Raise InputError where a student in ``start`` cannot learn what ``base`` gives: before anything is spent."""
    if why := misfit(pattern, bool(encoder.kind(start)), bool(base and encoder.kind(base))):
        raise InputError(why)
    if base is None or RECIPES[pattern].needs is Signal.TEXT:
        return
    if not encoder.kind(start):
        shared_vocabulary(start, base)


def _check_lengths(options: Options, task: Task, folders: set[Path]) -> None:
    """Raise InputError where the user's own rows are longer than a model in ``folders`` takes.

    A classifier cuts them. No tokenizer makes more tokens of a text than it has bytes, so that few are counted.
    """
    for folder in folders:
        most = (config_of(folder) or {}).get("max_position_embeddings")
        if encoder.kind(folder) or not isinstance(most, int):
            continue
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

        def tokens(item: Item, tokenizer: PreTrainedTokenizerBase = tokenizer, most: int = most) -> int:
            bytes_ = len((task.instruction + item.prompt).encode()) + OVERHEAD
            short = bytes_ + task.max_new_tokens <= most
            return 0 if short else len(prompt_ids(tokenizer, task.instruction, item.prompt)) + task.max_new_tokens

        if lines := too_long(options.prompts, task.items, tokens, most):
            raise InputError("\n".join(lines))


def _check_model(path: Path, option: str) -> Path:
    """``path`` if a model loads from it: tried before anything is spent on it. Raises InputError naming ``option``."""
    check_folder(path, option)
    try:
        load(path, "cpu")
    except InputError as error:
        raise InputError(f"{option} {error}") from error
    except Exception as error:  # safetensors and transformers have errors of their own for files that are broken
        what = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error).strip() else repr(error)
        raise InputError(f"{option} {path}: cannot be loaded ({what}); {EXPECTED}") from error
    return path


def _serving(
    work: Workspace, folder: Path, outcome: Outcome, task: Task, items: list[Item], plan: Plan
) -> dict[str, Serving]:
    """Measure the models on this machine, each once and in a fresh process; see evaluation/serving.py.

    A smoke run, whose figures mean nothing, measures in this process: loading torch again takes longer than all of it.
    """
    models = {"teacher": outcome.teacher, "student": outcome.student}
    request = {
        "instruction": task.instruction,
        "prompts": [item.prompt for item in items[: plan.serving_batch]],
        "limit": task.max_new_tokens,
        "latency_n": plan.latency_n,
        "device": work.device,
    }
    measured: dict[str, Serving] = {}
    for name, model in models.items():
        if model is None:
            continue
        cached = folder / f"serving-{name}.json"
        if not cached.exists():
            write_atomic(cached, json.dumps(_time(work, name, model, request, alone=not plan.smoke)))
        timed = json.loads(cached.read_text())
        measured[name] = Serving.model_validate(timed["serving"])
        outcome.seconds["time the models"] = outcome.seconds.get("time the models", 0.0) + timed["seconds"]
    return measured


def _time(work: Workspace, name: str, model: Path, request: dict, alone: bool) -> dict:
    """What serving one model is like, and the seconds that it took to find out."""
    started = time.monotonic()
    with work.stages.stage(f"Time the {name}", serving.steps(request["prompts"], request["latency_n"])) as advance:
        done = count(1)
        measure = _measure_alone if alone else serving.measure
        taken = measure(model, **request, on_answer=lambda: advance(next(done)))
    return {"serving": taken.model_dump(), "seconds": time.monotonic() - started}


def _measure_alone(model: Path, on_answer: Callable[[], None], **request: object) -> Serving:
    """`serving.measure` in a process of its own. Raises InputError when that fails."""
    with tempfile.TemporaryDirectory() as scratch:
        question = Path(scratch) / "request.json"
        question.write_text(json.dumps(request), "utf-8")
        command = [sys.executable, "-m", serving.__name__, str(question), str(model.resolve())]
        # In a session of its own, so that an interrupt ends this process and this process ends that one, quietly.
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=records.ROOT, start_new_session=True
        ) as process:
            try:
                for line in process.stdout:
                    if line == ".\n":
                        on_answer()
                    else:
                        taken = Serving.model_validate_json(line)
            except BaseException:
                process.kill()
                raise
    if process.returncode != 0:
        raise InputError(f"timing {model}: the process ended with status {process.returncode}; its message is above")
    return taken


def _record(
    described: dict[str, object],
    plan: Plan,
    task: Task,
    outcome: Outcome,
    board: Scoreboard,
    served: dict[str, Serving],
    teacher: Model,
    student: Model,
) -> Record:
    pairs = [
        (ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_GOLD),
        (ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_SIMPLER),
        (ArmKind.STUDENT_DISTILLED, ArmKind.STUDENT_UNIFORM),
        (board.reference, ArmKind.STUDENT_GOLD),
        (board.reference, ArmKind.TEACHER_BEST),
        (ArmKind.STUDENT_DISTILLED, board.reference),
        (ArmKind.CASCADE, ArmKind.STUDENT_DISTILLED),
        (ArmKind.CASCADE, board.reference),
    ]
    added = cascade = None
    if ArmKind.STUDENT_SIMPLER in board.arms:
        added = Added(outcome.simpler, board.compare(*pairs[1]).difference)
    if ArmKind.CASCADE in board.arms:
        cascade = measure_cascade(board, outcome.scores, outcome.deferred)
        added = Added(outcome.simpler, cascade.added, "Passing on what is unsure, minus as many at random")
    return Record(
        **described,
        date=datetime.now(UTC).replace(microsecond=0),
        smoke=plan.smoke,
        seeds=plan.seeds,
        machine=environment.machine(),
        packages=environment.packages(),
        task=records.Task(
            name=task.name,
            title=task.title,
            instruction=task.instruction,
            source=_source(task),
            **_data(task, plan),
        ),
        teacher=teacher,
        student=student,
        arms=[board.arm(kind) for kind in board.arms],
        comparisons=[
            board.compare(a, b, name) for name in outcome.slices for a, b in pairs if {a, b} <= board.arms.keys()
        ],
        primary_metric=task.primary,
        simpler=outcome.simpler,
        retention=board.retention(),
        serving=served,
        members=outcome.members,
        tuning=outcome.tuning,
        collection=outcome.collection,
        logs=outcome.logs,
        stages=[Stage(name=name, seconds=round(seconds, 1)) for name, seconds in outcome.seconds.items()],
        cascade=cascade,
        verdict=verdict(board, added),
    )


def _source(task: Task) -> str | None:
    """The package that the task's data comes from, and its terms."""
    data = TASKS[task.name].data if task.name in TASKS else None
    return str(data) if data else None


def _data(task: Task, plan: Plan) -> dict:
    """Sizes of the splits, and a hash of every item of every seed."""
    digest = hashlib.sha256()
    sizes: dict[str, int] = {}
    for seed in plan.seeds:
        splits = task.splits(plan.sizes, seed)
        named = {"gold": splits.gold, "dev": splits.dev, "transfer": splits.transfer, **splits.slices}
        named |= {"served": splits.served} if splits.served else {}
        for name, items in named.items():
            sizes[name] = len(items)
            for item in items:
                digest.update(json.dumps([name, item.prompt, item.reference, item.facts], sort_keys=True).encode())
    return {"sizes": sizes, "data_sha256": digest.hexdigest()}


def _model(name: str, folder: Path | None, dtype: str) -> Model:
    """Size from the safetensors headers; nothing is loaded. What is not on this machine does not tell its size."""
    if folder is None:
        return Model(name=name, parameters=None, bytes=None, layers=None, dtype=None)
    parameters = size = 0
    for path in folder.glob("*.safetensors"):
        size += path.stat().st_size
        with safe_open(path, "pt") as weights:
            for key in weights.keys():  # noqa: SIM118 - no mapping, it has no other iteration
                count = 1
                for extent in weights.get_slice(key).get_shape():
                    count *= extent
                parameters += count
    layers = layers_of(AutoConfig.from_pretrained(folder))
    return Model(name=name, parameters=parameters, bytes=size, layers=layers, dtype=dtype)


def _write_items(path: Path, task: Task, outcome: Outcome) -> None:
    """One line per held-out item: prompt, reference, facts, and each arm's answers with their scores."""
    lines = []
    for name, items in outcome.slices.items():
        for i, item in enumerate(items):
            answers = {
                arm.kind: [
                    {
                        "text": by_item[i],
                        "metrics": task.metrics(by_item[i], item),
                        **_marked(task, by_item[i], item),
                    }
                    for by_item in arm.answers[name]
                ]
                for arm in outcome.arms
            }
            lines.append(
                json.dumps(
                    {"slice": name, "id": item.id, "prompt": item.prompt, "reference": item.reference,
                     "facts": item.facts, "answers": answers},
                    ensure_ascii=False,
                )
            )  # fmt: skip
    write_atomic(path, "\n".join(lines) + "\n")


def _marked(task: Task, answer: str, item: Item) -> dict:
    return task.marks(answer, item)._asdict()
