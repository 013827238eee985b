"""``distill``: run a pattern, render its report, list what can run where.

Nothing heavy is imported until a command needs it, so ``distill --help`` starts at once.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from . import record as records
from .errors import InputError, disk_errors
from .figures import metric_title, percent, share, times
from .registry import PLATFORMS, RECIPES, cell

app = typer.Typer(
    help="Distil a large model into a small one, and measure what was kept.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
# Paths and messages are printed as they are: `notes.jsonl:100:` is no emoji, `[x]` no markup.
console = Console(stderr=True, emoji=False, markup=False, highlight=False)
out = Console(emoji=False, markup=False, highlight=False, soft_wrap=True)
MAX_NEW_TOKENS = 128  # of an answer to the user's own prompts
EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts.")] = False) -> None:
    """Which pattern runs on which platform: direct, bridged or not yet."""
    matrix = {
        recipe.slug: {platform.slug: cell(recipe, platform).value for platform in PLATFORMS.values()}
        for recipe in RECIPES.values()
    }
    if as_json:
        print(json.dumps(matrix, indent=1))
        return
    table = Table("pattern", "needs", *PLATFORMS)
    for recipe in RECIPES.values():
        table.add_row(recipe.slug, recipe.needs.value, *matrix[recipe.slug].values())
    out.print(table)


@app.command()
def run(
    pattern: Annotated[str, typer.Argument(help="A pattern of `distill list`.")],
    teacher: Annotated[str, typer.Option(help="local (the embedded model) or local:PATH.")] = "local",
    student: Annotated[
        str | None,
        typer.Option(
            help="How many of the teacher's layers to keep, or the folder of a local model. [10; 2 with --smoke]"
        ),
    ] = None,
    gold: Annotated[
        int | None, typer.Option(min=4, help="How many answers by experts to learn from. [48; all with --prompts]")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help='Your own: JSON lines of {"id", "prompt", "reference"?}.')
    ] = None,
    instruction: Annotated[
        str | None, typer.Option(help="The system instruction that goes with --prompts. [none]")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest answer, in tokens, with --prompts. [128]")
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="The same code, shrunk to a minute.")] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Several seeds, learning rates checked; writes a record to commit."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which notes are drawn, and their order in training.")] = 0,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds, from --seed on. [1; 3 with --record]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workdir: Annotated[Path, typer.Option(help="Where ledger, models and runs are kept.")] = Path("runs"),
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Learn from the rest when answers are empty.")
    ] = False,
) -> None:
    """Run a pattern: ask the teacher, train the student and its control, measure, report."""
    if pattern not in RECIPES:
        raise InputError(f"no pattern {pattern!r}; choose one of: {', '.join(RECIPES)}")
    for wrong, message in (
        (record and smoke, "--record --smoke: a smoke run's figures mean nothing; give one of the two"),
        (record and prompts, "--record --prompts: a record is published and your prompts are not; leave --record out"),
        (record and seeds == 1, "--record --seeds 1: a record shows the spread between seeds; give at least 2"),
        (smoke and gold, "--smoke --gold: a smoke run has its own few; leave --gold out"),
        (instruction is not None and not prompts, "--instruction goes with --prompts; the built-in task has its own"),
        (max_new_tokens and not prompts, "--max-new-tokens goes with --prompts; the built-in task has its own"),
    ):
        if wrong:
            raise InputError(message)
    _quiet()
    device = _one_gpu(device)
    with console.status("Loading torch and transformers"):
        try:
            from .evaluation.report import write
            from .run import Options, execute
        except ModuleNotFoundError as error:
            raise InputError(
                f"{error.name} is not installed; run, in the project's folder: pip install -e '.[train]'"
            ) from error
    options = Options(
        pattern=pattern,
        teacher=teacher,
        student=student,
        gold=gold,
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
        command=shlex.join(["distill", *sys.argv[1:]]),
    )
    try:
        folder, measured = execute(options, console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where this one stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    report = write(folder)
    _summary(measured)
    out.print(f"report   {report}")
    out.print(f"student  {(folder / 'student').resolve()}")
    if record:
        path = records.RECORDS / f"{pattern}-local-{measured.date:%Y-%m-%d}-{folder.name.rpartition('-')[2]}.json"
        with disk_errors(path):
            records.save(measured, path)
        out.print(f"record   {path}  (commit it: the pattern's page will show it)")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's folder under runs/.")]) -> None:
    """Render the report of a run again."""
    from .evaluation.report import write

    if not (run / "record.json").is_file():
        raise InputError(f"{run}: no record.json; give the folder of a finished run, as `distill run` printed it")
    print(write(run))


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
        + (f" at {times(measured.speedup)} the teacher's tokens per second" if measured.speedup else "")
        + (f" and {percent(measured.size_ratio)} of its size" if measured.size_ratio else "")
    )
    out.print(f"verdict  {measured.verdict.decision}. {measured.verdict.reason}")
    if measured.smoke:
        out.print("This was a smoke run: it shows that everything works; its figures mean nothing.")


def _one_gpu(device: str) -> str:
    """Show torch one GPU only, before it is imported: with several, the Trainer would split each batch over them."""
    kind, _, index = device.partition(":")
    if kind == "cuda" and index.isdigit():
        os.environ["CUDA_VISIBLE_DEVICES"] = index
        return kind
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    return device


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
        app()
    except InputError as error:
        console.print(f"error: {error}", style="red", soft_wrap=True)
        sys.exit(EXIT_INPUT)


if __name__ == "__main__":
    main()
