"""``distill``: run a pattern, render its report, list what can run where.

Nothing heavy is imported until a command needs it, so ``distill --help`` starts at once.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from . import record as records
from .delivery import PRECISIONS, Precision, Target, check_finished
from .errors import InputError, ModelMissing, choose, disk_errors
from .figures import faster, many, metric_title, number, percent, share
from .options import Launch, Machine, Options
from .progress import Stages, download
from .registry import DEFAULT_TASK, LAUNCHERS, LOG_FORMATS, PLATFORMS, RECIPES, TASKS, Signal, cell
from .teachers import prices
from .teachers.spending import Spending

if TYPE_CHECKING:
    from .delivery.verify import Agreement

app = typer.Typer(
    help="Distil a large model into a small one, and measure what was kept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
# Paths and messages are printed as they are: `notes.jsonl:100:` is no emoji, `[x]` no markup.
console = Console(stderr=True, emoji=False, markup=False, highlight=False)
out = Console(emoji=False, markup=False, highlight=False, soft_wrap=True)
Result = TypeVar("Result")
Name = TypeVar("Name", bound=StrEnum)
MAX_NEW_TOKENS = 128  # of an answer to the user's own prompts
LIBRARIES = ("torch", "accelerate", "transformers.trainer", f"{__package__}.run")
EXIT_NO_GO = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False) -> None:
    """Which pattern runs on which platform: direct, bridged or not yet. Which tasks --task chooses from."""
    matrix = {
        recipe.slug: {platform.slug: cell(recipe, platform).value for platform in PLATFORMS.values()}
        for recipe in RECIPES.values()
    }
    if as_json:
        print(json.dumps(matrix, indent=1))
        return
    plain = {"box": None, "padding": (0, 1, 0, 0)}  # fits into 80 columns
    table = Table("pattern", "needs", *PLATFORMS, **plain)
    for recipe in RECIPES.values():
        table.add_row(recipe.slug, recipe.needs.value, *matrix[recipe.slug].values())
    out.print(table)
    out.print()
    tasks = Table("task", "what", "data, licence", **plain)
    tasks.columns[0].no_wrap = True
    for task in TASKS.values():
        tasks.add_row(task.slug, task.title, str(task.data or "made here; this project's"))
    out.print(tasks)


# Help is read in 80 columns: short words for what an option takes, and options of one purpose in a panel of their own.
BEDROCK, VERTEX, ACCELERATE = ({"rich_help_panel": f"On {on}"} for on in ("Bedrock", "Vertex AI", "accelerate"))
ASKED, LOGGED, PAYBACK, AGAIN = (
    {"rich_help_panel": panel}
    for panel in ("A teacher behind a platform", "A teacher's logs", "Payback", "Repeating, recording, and where")
)


def _finite(context: typer.Context, parameter: typer.CallbackParam, given: float | None) -> float | None:
    """``given`` where it is a number that can be counted with: `inf` and `nan` are none, and pass every limit."""
    if given is not None and not math.isfinite(given):
        raise InputError(f"{parameter.opts[0]} {given}: give a finite number, or leave it out")
    return given


AMOUNT = {"min": 0, "callback": _finite}
FLAG, NUMBER, USD, PATH, TEXT = ({"metavar": word} for word in ("", "N", "USD", "PATH", "TEXT"))

Pattern = Annotated[str, typer.Argument(help="A pattern of `distill list`.")]
TEACHERS = (
    "local (the embedded model), local:encoder (a classifier), local:resnet (one of images), local:PATH"
    + "".join(f", {platform.teacher}" for slug, platform in PLATFORMS.items() if slug != "local")
)
Teacher = Annotated[list[str], typer.Option(help=f"{TEACHERS}; several times for multi-teacher.", **TEXT)]
OneTeacher = Annotated[str, typer.Option("--teacher", help=f"{TEACHERS}.", **TEXT)]
Student = Annotated[
    str | None,
    typer.Option(
        help="How many layers to keep of the teacher (of the embedded model, if the teacher is elsewhere), or the "
        "folder of a local model, or what classifies: encoder, or resnet for images (encoder:2 is two of its layers, "
        "resnet:8 eight, as are kept of a teacher that is one). "
        "(default: 10; 2 in a smoke run)",
        **TEXT,
    ),
]
Assistant = Annotated[
    Path | None,
    typer.Option(
        help="The folder of the open model that bridges: tuned on the answers of a platform that does not give what "
        "the pattern needs, it gives the rest, and the student is cut from it; it also completes a committee of fewer "
        "than three. (default: the embedded model)",
        **PATH,
        **ASKED,
    ),
]
Gold = Annotated[
    int | None,
    typer.Option(min=4, help="How many answers by experts to learn from. (default: 48; all with --prompts)", **NUMBER),
]
BuiltInTask = Annotated[
    str | None, typer.Option("--task", help="A task of `distill list`. (default: the pattern's own)", **TEXT)
]
Prompts = Annotated[Path | None, typer.Option(help='Your own: JSON lines of {"id", "prompt", "reference"?}.', **PATH)]
Instruction = Annotated[
    str | None, typer.Option(help="The system instruction that goes with --prompts. (default: none)", **TEXT)
]
MaxNewTokens = Annotated[
    int | None, typer.Option(min=1, help="The longest answer, in tokens, with --prompts. (default: 128)", **NUMBER)
]
Smoke = Annotated[bool, typer.Option("--smoke", help="The same code, shrunk to a minute.", **FLAG)]
Record = Annotated[
    bool,
    typer.Option("--record", help="Several seeds, learning rates checked; writes a record to commit.", **FLAG, **AGAIN),
]
Seed = Annotated[
    int, typer.Option(min=0, help="Which notes are drawn, and their order in training.", **NUMBER, **AGAIN)
]
Seeds = Annotated[
    int | None,
    typer.Option(min=1, help="How many seeds, from --seed on. (default: 1; 3 with --record)", **NUMBER, **AGAIN),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", **TEXT, **AGAIN)]
Workdir = Annotated[Path, typer.Option(help="Where ledger, models and runs are kept.", **PATH, **AGAIN)]
SkipEmpty = Annotated[
    bool, typer.Option("--skip-empty", help="Learn from the rest when answers are missing.", **FLAG, **ASKED)
]
AllowCloud = Annotated[bool, typer.Option("--allow-cloud", help="Let --prompts leave this machine.", **FLAG, **ASKED)]
Redact = Annotated[
    bool,
    typer.Option(
        "--redact",
        help="Replace what looks like an identifier before it leaves, and put it back; with --logs for good.",
        **FLAG,
        **ASKED,
    ),
]
Logs = Annotated[
    list[str] | None,
    typer.Option(
        help="The teacher's own logs, in place of asking it: a file or a folder, as often as there are several; on "
        "Bedrock s3://BUCKET/FOLDER.",
        **PATH,
        **LOGGED,
    ),
]
LogsFormat = Annotated[str, typer.Option(help=f"auto, {', '.join(LOG_FORMATS)}.", **TEXT, **LOGGED)]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        **AMOUNT,
        help="US dollars to spend with a teacher in --workdir, in all. (default: no limit)",
        **USD,
        **ASKED,
    ),
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Requests under way at once.", **NUMBER, **ASKED)]
RequestsPerSecond = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        callback=_finite,
        help="Requests sent a second, at most; batch jobs go whole. (default: what --concurrency lets go)",
        **NUMBER,
        **ASKED,
    ),
]
Batch = Annotated[
    bool | None,
    typer.Option(
        "--batch/--no-batch",
        help="The platform's batch jobs: cheaper, later. (default: from 1,000 requests up)",
        **FLAG,
        **ASKED,
    ),
]
PriceInput = Annotated[
    float | None,
    typer.Option(**AMOUNT, help="Of a million tokens read, if no price is known.", **USD, **ASKED),
]
PriceOutput = Annotated[float | None, typer.Option(**AMOUNT, help="Of a million tokens written.", **USD, **ASKED)]
Answered = Annotated[list[str], typer.Option(hidden=True)]  # Options.answered, for a run that was launched


def _options(
    pattern: Pattern,
    teacher: Teacher = ("local",),
    student: Student = None,
    prompts: Prompts = None,
    instruction: Instruction = None,
    max_new_tokens: MaxNewTokens = None,
    task: BuiltInTask = None,
    gold: Gold = None,
    smoke: Smoke = False,
    allow_cloud: AllowCloud = False,
    redact: Redact = False,
    budget_usd: BudgetUsd = None,
    batch: Batch = None,
    concurrency: Concurrency = 16,
    requests_per_second: RequestsPerSecond = None,
    price_input: PriceInput = None,
    price_output: PriceOutput = None,
    assistant: Assistant = None,
    skip_empty: SkipEmpty = False,
    logs: Logs = None,
    logs_format: LogsFormat = "auto",
    record: Record = False,
    seed: Seed = 0,
    seeds: Seeds = None,
    device: Device = "auto",
    workdir: Workdir = Path("runs"),
    answered: Answered = (),
) -> Options:
    """The command line of `run` and `plan`, checked before anything heavy is loaded. Raises InputError."""
    if pattern not in RECIPES:
        raise InputError(f"no pattern {pattern!r}; {choose(pattern, sorted(RECIPES))}")
    if task is not None and task not in TASKS:
        raise InputError(f"--task {task}: no such task; {choose(task, TASKS)}")
    for wrong, message in (
        (task and prompts, "--task --prompts: the run learns one task; give one of the two"),
        (record and smoke, "--record --smoke: a smoke run's figures mean nothing; give one of the two"),
        (record and prompts, "--record --prompts: a record is published and your prompts are not; leave --record out"),
        (record and seeds == 1, "--record --seeds 1: a record shows the spread between seeds; give at least 2"),
        (smoke and gold, "--smoke --gold: a smoke run has its own few; leave --gold out"),
        (instruction is not None and not prompts, "--instruction goes with --prompts; a built-in task has its own"),
        (max_new_tokens and not prompts, "--max-new-tokens goes with --prompts; a built-in task has its own"),
        (
            len(teacher) > 1 and not RECIPES[pattern].committee,
            f"--teacher: {pattern} learns from one teacher, and {len(teacher)} were given; leave one, or take "
            "multi-teacher",
        ),
        (
            twice := next((spec for spec in teacher if teacher.count(spec) > 1), None),
            f"--teacher {twice}: given twice, and its vote would count twice; give it once",
        ),
        (
            assistant and any(spec.partition(":")[0] == "local" for spec in teacher),
            "--assistant goes with a teacher behind a platform; a local one gives everything itself",
        ),
        (
            assistant and RECIPES[pattern].needs is Signal.TEXT and not RECIPES[pattern].committee,
            f"--assistant: {pattern} needs text alone, which every platform gives; leave it out",
        ),
        (
            logs_format not in ("auto", *LOG_FORMATS),
            f"--logs-format {logs_format}: {choose(logs_format, ('auto', *LOG_FORMATS))}",
        ),
        (
            task and DEFAULT_TASK != RECIPES[pattern].task != task,
            f"--task {task}: {pattern} is shown on {RECIPES[pattern].task} alone; leave it out",
        ),
        _no_device(device),
        (logs_format != "auto" and not logs, "--logs-format goes with --logs; leave it out"),
        (
            pattern == "production-logs" and prompts and not logs,
            "--prompts without --logs: production-logs learns from a log; give --logs, or take sequence-level",
        ),
        ((price_input is None) != (price_output is None), "--price-input and --price-output go together; give both"),
    ):
        if wrong:
            raise InputError(message)
    price = None if price_input is None else prices.given(price_input, price_output)
    return Options(
        pattern=pattern,
        teacher=teacher[0],
        others=tuple(teacher[1:]),
        student=student,
        assistant=assistant,
        gold=gold,
        task=None if task == RECIPES[pattern].task else task,
        prompts=prompts,
        instruction=instruction or "",
        max_new_tokens=max_new_tokens or MAX_NEW_TOKENS,
        smoke=smoke,
        record=record,
        seed=seed,
        seeds=seeds,
        device=device,
        workdir=workdir,
        skip_empty=skip_empty,
        allow_cloud=allow_cloud,
        redact=redact,
        spending=Spending(concurrency, budget_usd, price, batch, requests_per_second, fallback=len(teacher) > 1),
        command=shlex.join(["distill", *sys.argv[1:]]),
        answered=tuple(answered),
        logs=tuple(logs or ()),
        logs_format=logs_format,
    )


def _no_device(device: str) -> tuple[bool, str]:
    """Whether nothing of torch's is meant, and what to say then; whether it is here is for torch to say."""
    known = re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device)
    return known is None, f"--device {device}: give auto, cpu, cuda or cuda:N"


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the parameters of `_options` on its command line, after its own, which its help shows first."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    def read(**given: Any) -> None:
        mine = {p.name: given.pop(p.name) for p in own}
        command(_options(**given), **mine)

    shared = inspect.signature(_options, eval_str=True).parameters.values()
    read.__name__, read.__doc__ = command.__name__, command.__doc__
    read.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *shared)])
    read.__annotations__ = {name: p.annotation for name, p in read.__signature__.parameters.items()}
    return read


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say that it was interrupted; typer alone would end without a word."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(EXIT_INTERRUPTED) from None


@app.command()
@_with_options
def run(options: Options) -> None:
    """Run a pattern: ask the teacher, train the student and its control, measure, report."""
    options = replace(options, device=_one_gpu(options.device))
    _quiet()
    try:
        with _installed():
            from .ahead import look
        ready = _fetching(lambda: look(options))
        _load_libraries()
        from .run import execute

        folder, measured = _fetching(lambda: execute(options, console, ready))
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _finished(options, folder, measured)


def _finished(options: Options, folder: Path, measured: records.Record) -> None:
    """Say what came of a run and where it is; with --record, put its record where it can be committed."""
    from .evaluation.report import write

    report = write(folder)
    _summary(measured)
    out.print(f"report   {report}")
    out.print(f"student  {(folder / 'student').resolve()}")
    if options.record:
        made = f"{options.pattern}-{measured.platform}-"  # how the folder's name begins; the rest is this run's alone
        path = records.RECORDS / f"{made}{measured.date:%Y-%m-%d}-{folder.name.removeprefix(made)}.json"
        with disk_errors(path):
            records.save(measured, path)
        out.print(f"record   {path}  (commit it: the pattern's page will show it)")


@app.command()
@_with_options
@_interruptible()
def plan(options: Options) -> None:
    """What `run` with the same options would ask, cost and take. Counts tokens with the platform; spends nothing."""
    _quiet()
    with _installed():
        from .plan import plan as show
    _fetching(lambda: show(options, out))


@app.command()
@_interruptible()
def check(
    pattern: Annotated[str, typer.Argument(help="A pattern of the catalogue, with a recipe or without.")],
    prompts: Annotated[Path, typer.Option(help='Your own: JSON lines of {"id", "prompt", "reference"?}.', **PATH)],
    teacher: OneTeacher = "local",
    assistant: Assistant = None,
    instruction: Instruction = None,
    max_new_tokens: MaxNewTokens = None,
    production: Annotated[
        Path | None, typer.Option(help="What production asks: as --prompts, or one prompt a line.", **PATH)
    ] = None,
    finished: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="A finished run with these prompts. (default: the newest such in --workdir, if there is one)",
            **PATH,
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(help="What you know, as data_residency=must_stay; counts before what is measured.", **TEXT),
    ] = None,
    monthly_requests: Annotated[
        int | None, typer.Option(min=1, help="That production makes.", **NUMBER, **PAYBACK)
    ] = None,
    price_input: PriceInput = None,
    price_output: PriceOutput = None,
    gpu_hour_usd: Annotated[
        float | None, typer.Option(**AMOUNT, help="What an hour of training costs.", **USD, **PAYBACK)
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(**AMOUNT, help="How many of them training takes.", **NUMBER, **PAYBACK),
    ] = None,
    serving_usd: Annotated[
        float | None,
        typer.Option(**AMOUNT, help="What serving the student costs a month.", **USD, **PAYBACK),
    ] = None,
    payback_months: Annotated[
        float,
        typer.Option(**AMOUNT, help="In how many months it must have paid back.", **NUMBER, **PAYBACK),
    ] = 12,
    allow_cloud: AllowCloud = False,
    redact: Redact = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="Load a local teacher or the assistant too, to look at its temperature.", **FLAG
        ),
    ] = False,
    device: Device = "auto",
    workdir: Workdir = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.", **FLAG)] = False,
) -> None:
    """Whether a pattern fits, by its page's own criteria, measured on your data. Asks no platform, sends nothing.

    Status 1 if something speaks against it (no-go), 2 if the input is wrong, else 0: what is unsure fails nothing.
    """
    for wrong, message in (
        ((price_input is None) != (price_output is None), "--price-input and --price-output go together; give both"),
        _no_device(device),
        ((gpu_hour_usd is None) != (gpu_hours is None), "--gpu-hour-usd and --gpu-hours go together; give both"),
        (bad := [g for g in given or () if "=" not in g], f"--given {' '.join(bad)}: write it as DIMENSION=VALUE"),
    ):
        if wrong:
            raise InputError(message)
    _quiet()
    with _installed():
        from .checks.model import Case, Decision
        from .checks.report import report as weigh
        from .checks.show import show
        from .criteria import dimensions
        from .own_prompts import Rows, check_script, read_rows
        from .teachers.named import teacher_problems
    items = read_rows(prompts)
    check_script(prompts, items)
    if problems := teacher_problems([teacher], assistant, Rows(prompts.name, items)):
        raise InputError("\n".join(problems))
    case = Case(
        pattern=pattern,
        teacher=teacher,
        prompts=prompts,
        items=items,
        given=dict(g.split("=", 1) for g in given or ()),
        production=production,
        run=finished,
        workdir=workdir,
        assistant=assistant,
        instruction=instruction or "",
        max_new_tokens=max_new_tokens or MAX_NEW_TOKENS,
        allow_cloud=allow_cloud,
        redact=redact,
        measure=measure,
        device=device,
        price=None if price_input is None else prices.given(price_input, price_output),
        monthly_requests=monthly_requests,
        training_usd=None if gpu_hours is None else gpu_hour_usd * gpu_hours,
        serving_usd=serving_usd,
        payback_months=payback_months,
    )
    with _installed():
        found = weigh(case, Stages(console))
    if as_json:
        print(found.model_dump_json(indent=1))
    else:
        show(found, dimensions(), out)
    if found.decision is Decision.NO_GO:
        raise typer.Exit(EXIT_NO_GO)


def _fetching(act: Callable[[], Result]) -> Result:
    """``act()``; where a model is missing and somebody is there to agree that it be downloaded, once more with it."""
    try:
        return act()
    except ModelMissing as missing:
        if not (console.is_terminal and sys.stdin.isatty()):
            raise
        console.print(str(missing), style="yellow", soft_wrap=True)
        if not typer.confirm("Download it now?", err=True):
            raise
        with download(console, "Download") as on_progress:
            missing.fetch(on_progress)
    return act()


@app.command()
@_with_options
def launch(
    options: Options,
    context: typer.Context,
    on: Annotated[str, typer.Option(help=f"Who does it all: {', '.join(LAUNCHERS)}.", **TEXT)],
    output: Annotated[
        str | None,
        typer.Option(
            help="Where its files go: s3://BUCKET/FOLDER on Bedrock, gs://BUCKET/FOLDER on Vertex AI. (default there: "
            "distillation-patterns in GOOGLE_CLOUD_STORAGE_BUCKET)",
            **TEXT,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the request and send nothing.", **FLAG)] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the job of the same command.", **FLAG)] = False,
    role: Annotated[str | None, typer.Option(help="The service role that Bedrock works by.", **TEXT, **BEDROCK)] = None,
    machine: Annotated[str, typer.Option(help="Google's name of a machine.", **TEXT, **VERTEX)] = "g2-standard-8",
    accelerator: Annotated[
        str | None,
        typer.Option(help="Google's name of a GPU. (default: NVIDIA_L4 without --machine)", **TEXT, **VERTEX),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="How many GPUs, there or here; every training uses all.", **NUMBER)
    ] = 1,
    config: Annotated[
        Path | None, typer.Option(help="An accelerate configuration, for FSDP or DeepSpeed.", **PATH, **ACCELERATE)
    ] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="Cheaper, and may be taken away: goes on after.", **FLAG, **VERTEX)
    ] = False,
    image: Annotated[
        str,
        typer.Option(
            help="The container: Python 3.11 or newer, pip, bash, CUDA.",
            show_default="pytorch/pytorch with CUDA 12.6",
            **TEXT,
            **VERTEX,
        ),
    ] = "docker.io/pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime",
    service_account: Annotated[
        str | None, typer.Option(help="Whom the job runs as. (default: Vertex AI's own agent)", **TEXT, **VERTEX)
    ] = None,
) -> None:
    """Have a distillation done elsewhere, and follow it. The same command again finds the same job.

    Bedrock has its own teacher and student; on Vertex AI and accelerate it is `distill run`, on GPUs there or here.
    """
    given = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}
    if on not in LAUNCHERS:
        raise InputError(f"--on {on}: {choose(on, LAUNCHERS)}")
    if foreign := sorted(given - LAUNCHERS[on].takes):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        raise InputError(f"--on {on} has no use for {names}; leave that out")
    if "machine" not in given:
        accelerator = accelerator or "NVIDIA_L4"
    rented = Machine(machine, accelerator, count, spot, image, service_account, config)
    asked = Launch(options, output, dry_run, cancel, role, rented)
    _quiet()
    try:
        with _installed():
            folder = import_module(LAUNCHERS[on].module).launch(asked, console, out)
    except KeyboardInterrupt:
        console.print(
            "interrupted; a job that was started goes on at the platform: the same command follows it, and --cancel "
            "stops it"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if folder is not None:
        _finished(options, folder, records.load(folder / "record.json"))


def _load_libraries() -> None:
    """Import what takes seconds, largest first, with a bar: what follows imports at once."""
    with Stages(console).stage("Load torch and transformers", len(LIBRARIES)) as advance, _installed():
        for number, name in enumerate(LIBRARIES, 1):
            import_module(name)
            advance(number)


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; run, in the project's folder: pip install -e '.[train]'"
        ) from error


@app.command()
@_interruptible()
def report(run: Annotated[Path, typer.Argument(help="A run's folder under runs/.")]) -> None:
    """Render the report of a run again."""
    from .evaluation.report import write

    if not (run / "record.json").is_file():
        raise InputError(f"{run}: no record.json; give the folder of a finished run, as `distill run` printed it")
    print(write(run))


def _one_of(option: str, names: type[Name]) -> Callable[[str], Name]:
    """What reads ``option``, one of ``names``; typer itself would list them and name no nearest."""

    def read(given: str) -> Name:
        if given not in list(names):
            raise InputError(f"{option} {given}: {choose(given, names)}")
        return names(given)

    return read


@app.command()
@_interruptible()
def export(
    run: Annotated[Path, typer.Argument(help="A finished run's folder under runs/.")],
    to: Annotated[
        Target,
        typer.Option(
            help="A folder, a file, or a model of an Ollama server (OLLAMA_HOST).", parser=_one_of("--to", Target)
        ),
    ],
    path: Annotated[
        Path | None,
        typer.Option("--out", help="The folder or file to write. (default: in the run's folder, under export/)"),
    ] = None,
    quantize: Annotated[
        Precision | None,
        typer.Option(
            help="How weights are stored. (default: f32, as trained, in safetensors; else f16)",
            parser=_one_of("--quantize", Precision),
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's name on the Ollama server. (default: the run's)")
    ] = None,
) -> None:
    """Take the student of a run to where it is used, and prove that it is the same model there.

    It is read again, by other software where there is some: same chat template, same tokens, same log-probabilities.
    """
    precision = quantize or PRECISIONS[to][0]
    for wrong, message in (
        (precision not in PRECISIONS[to], f"--quantize {quantize}: {to} takes {', '.join(PRECISIONS[to])}"),
        (model and to is not Target.OLLAMA, "--model goes with --to ollama; leave it out"),
        (path and to is Target.OLLAMA, "--out: Ollama keeps its models itself; give --model, or --to gguf"),
        (path and path.exists(), f"--out {path}: is there already; delete it, or give another place"),
    ):
        if wrong:
            raise InputError(message)
    check_finished(run)
    _quiet()
    stages = Stages(console)
    with _installed():
        from .delivery.student import finished
        from .delivery.verify import expect

        deliver = import_module(f"{__package__}.delivery.{to}").export
    with stages.stage("Load the student", None):
        student = finished(run)
    places = {
        Target.SAFETENSORS: path or run / "export" / f"{student.name}-{precision}",
        Target.GGUF: path or run / "export" / f"{student.name}-{precision}.gguf",
        Target.OLLAMA: model or student.name,
    }
    with stages.stage("Ask it what its exports must say, too", None):
        expected = expect(student)
    exported = deliver(student, expected, places[to], precision, stages)
    _agreements(exported.agreements)
    out.print(f"{to:11} {exported.place}")
    out.print(f"measured    {exported.report}")


def _agreements(agreements: list[Agreement]) -> None:
    """How far each reader's model is from the student."""
    table = Table("read again by", *(a.reader for a in agreements))
    table.add_row("chat template", *("same" for _ in agreements))
    table.add_row(
        "tokens", *(f"same in {many(a.prompts, 'prompt')}" if a.prompts else "not compared" for a in agreements)
    )
    table.add_row("top-5 logprobs, largest", *(f"{number(a.largest)} nats" for a in agreements))
    table.add_row("top-5 logprobs, mean", *(f"{number(a.mean)} nats" for a in agreements))
    table.add_row("allowed, largest", *(f"{number(a.tolerance)} nats" for a in agreements))
    table.add_row("likeliest token", *(f"same in {percent(a.same_first)} of {a.contexts}" for a in agreements))
    out.print(table)


@app.command()
@_interruptible()
def copy(
    pattern: Pattern,
    dest: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
    platform: Annotated[str, typer.Option(help=f"Where its teacher is: {', '.join(PLATFORMS)}.")],
) -> None:
    """Copy a pattern for one platform into a folder: a project of its own, which needs nothing of this one."""
    with _installed():
        from .delivery.copy import copy as write
    folder = write(pattern, platform, dest)
    out.print(f"copied   {folder}  (README.md says how to install and run it)")


def _summary(measured: records.Record) -> None:
    """The arms on the held-out slice, and the verdict."""
    table = Table("arm", "held out", "95% interval", title=metric_title(measured.primary_metric))
    for arm in measured.arms:
        estimate = arm.metrics["heldout"][measured.primary_metric]
        table.add_row(arm.title, share(estimate.value), f"{share(estimate.low)} – {share(estimate.high)}")
    out.print(table)
    kept = measured.retention
    out.print(
        f"retention {share(kept.value)} ({share(kept.low)} – {share(kept.high)})"
        + (" at {} the teacher's {}".format(*fast) if (fast := faster(measured)) else "")
        + (f" and {percent(measured.size_ratio)} of its size" if measured.size_ratio else "")
    )
    out.print(f"verdict  {measured.verdict.decision}. {measured.verdict.reason}")
    if measured.smoke:
        out.print("This was a smoke run: it shows that everything works; its figures mean nothing.")


def _one_gpu(device: str) -> str:
    """Show torch one GPU only, before it is imported: with several, the Trainer would split each batch over them.

    Of those that CUDA_VISIBLE_DEVICES leaves, for the others may be somebody else's. Raises InputError where they are
    fewer than ``device`` counts.
    """
    kind, _, index = device.partition(":")
    named = kind == "cuda" and index.isdecimal()
    number, given = int(index) if named else 0, os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
        return kind if named else device
    left = [gpu.strip() for gpu in given.split(",")]
    left = list(takewhile(lambda gpu: gpu and not gpu.startswith("-"), left))  # CUDA's reading: -1 ends the list
    if number < len(left):
        os.environ["CUDA_VISIBLE_DEVICES"] = left[number]
    elif named:
        mend = f"give one from cuda:0 to cuda:{len(left) - 1}" if left else "unset it, or give --device cpu"
        raise InputError(f"--device {device}: CUDA_VISIBLE_DEVICES={given} leaves no such GPU; {mend}")
    return kind if named else device


def _quiet() -> None:
    """Our own bars say how far it is; the libraries' bars and advice would bury them. No network is ever asked."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main() -> None:
    """The entry point: what the user can mend is one message and status 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:  # a question that was answered with Ctrl-C, or by nobody
        sys.exit(EXIT_INTERRUPTED)
    except InputError as error:
        message = str(error)
    except typer.TyperException as error:  # of the command line itself; of none at all the help is printed already
        message = error.format_message().partition(", unable to parse")[0].rstrip(".")
        message = message and f"{message}; --help says what there is"
    if message:
        console.print(f"error: {message}", style="red", soft_wrap=True)
    sys.exit(EXIT_INPUT)


if __name__ == "__main__":
    main()
