"""What --teacher, --student and --assistant name on this machine, looked at without torch: in its config.json alone.

A run loads what is named and finds the rest; what is refused here costs nobody a plan, an upload, or half a minute.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..options import Options
from ..recipes.arms import STUDENT_LAYERS
from ..registry import RECIPES, Signal
from ..tasks.task import Task
from . import encoder, resnet, starts

SMOKE_LAYERS = "2"
EMBEDDED = {"num_hidden_layers": 30, "max_position_embeddings": 8192}  # of its config.json, which is not unpacked yet
ENCODER = {"architectures": ["BertModel"], "num_hidden_layers": 6}
RESNET = {"architectures": ["ResNetModel"], "model_type": "resnet", **resnet.STAGES}
NEEDED = ("config.json", "tokenizer_config.json")
EXPECTED = (  # as local.py has it, which takes torch
    "give a folder with config.json, model.safetensors and the tokenizer of an instruction-tuned causal language model"
)
IMAGES = "preprocessor_config.json"  # what a model of images has beside it, see transfer/classifier.py


def check(options: Options, task: Task) -> None:
    """Raise InputError with all that is wrong with the models that ``options`` name."""
    problems = teacher_problems(() if options.logs else options.teachers, options.assistant, task)
    if not problems:  # a student may be layers of one of those
        problems = list(_student_problems(options, task))
    if problems:
        raise InputError("\n".join(problems))


def teacher_problems(specs: Iterable[str], assistant: Path | None, task: Task) -> list[str]:
    """What is wrong with ``specs``, of --teacher, and with ``assistant``; what is behind a platform is not seen."""
    problems = list(_folder_problems(assistant, "--assistant")) if assistant else []
    for spec in specs:
        platform, _, model = spec.partition(":")
        if platform == "local" and model:
            problems += _model_problems(model, "--teacher local:", task)
        elif starts.has_images(task):
            problems.append(_reads("--teacher", spec, task))
    return problems


def _student_problems(options: Options, task: Task) -> Iterator[str]:
    base = _base(options, task)
    spec = options.student or _default_layers(options, task, base)
    if spec.isdecimal():
        yield from _layer_problems(int(spec), base, "--student")
    elif _is_number(spec) and not Path(spec).exists():
        yield f"--student {spec}: give a whole number of layers, or the folder of a model"
    else:
        yield from _model_problems(spec, "--student", task)
    classifies = _classifies(base) if spec.isdecimal() else starts.classifies(spec)
    if why := misfit(options.pattern, classifies, _classifies(base)):
        yield why


def misfit(pattern: str, student: bool, base: bool) -> str:
    """Why ``pattern`` is not for a student and a base of which it is said whether they classify; else nothing."""
    recipe = RECIPES[pattern]
    if recipe.writes and (student or base):
        return f"{pattern} teaches models that write, and an encoder does not; take response-based for it"
    if recipe.needs is not Signal.TEXT and student != base:
        return (
            f"{pattern} compares what teacher and student hold likely: labels, or tokens. One of them classifies and "
            "the other writes; give two of a kind, as --teacher local:encoder, or take sequence-level"
        )
    return ""


def _model_problems(spec: str, option: str, task: Task) -> Iterator[str]:
    """What is wrong with ``spec``, a folder or what a classifier is made of, for ``task``."""
    found = starts.named(spec)
    if found is None and (missing := list(_folder_problems(Path(spec), option))):
        yield from missing
        return
    given, whole = (option.removesuffix(" local:"), "local:" + spec) if option != "--student" else (option, spec)
    if reads_images(spec) != starts.has_images(task):
        yield _reads(given, whole, task)
    elif starts.classifies(spec):
        try:
            starts.labels_of(task)
        except InputError as error:
            yield str(error)
    if found and found[1] is not None:
        yield from _layer_problems(found[1], ENCODER if found[0] is encoder else RESNET, f"{given} {whole}")


def check_reads(option: str, spec: str, task: Task) -> None:
    """Raise InputError where ``spec`` names a model of text and the prompts of ``task`` are images, or the reverse."""
    if reads_images(spec) != starts.has_images(task):
        raise InputError(_reads(option, spec, task))


def reads_images(spec: str) -> bool:
    """Whether ``spec``, of --teacher or --student, names a model of images."""
    found = starts.named(spec)
    return found[0] is resnet if found else (Path(spec.removeprefix("local:")) / IMAGES).is_file()


def _reads(option: str, spec: str, task: Task) -> str:
    reads, has = ("images", "text") if reads_images(spec) else ("text", "images")
    platform = "local:" if option == "--teacher" else ""
    return (
        f"{option} {spec}: it reads {reads}, and the prompts of {task.title} are {has}; give {option} "
        f"{platform}{starts.start_of(task).SPEC}, or the folder of a classifier of {has}"
    )


def _folder_problems(path: Path, option: str) -> Iterator[str]:
    """As `local.check_folder`, and that the configuration can be read."""
    if not path.is_dir():
        yield f"{option} {path}: no such folder; {EXPECTED}"
        return
    if (path / "config.json").is_file() and config_of(path) is None:
        yield f"{option} {path}: config.json is no JSON object; {EXPECTED}"
        return
    needed = NEEDED[:1] if encoder.kind(path) else NEEDED  # a model of images has no tokenizer
    missing = [name for name in needed if not (path / name).is_file()]
    if not list(path.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        yield f"{option} {path}: no model ({', '.join(missing)} missing); {EXPECTED}"


def _layer_problems(keep: int, config: dict[str, Any], option: str) -> Iterator[str]:
    """What the run says where it cuts, see ``kept_layers`` and ``_cut_stages``."""
    if config.get("model_type") == "resnet":
        possible = _resnet_layers(config)
        if keep not in possible:
            yield f"{option}: a student of {keep} layers cannot be cut; ask for {' or '.join(map(str, possible))}"
        return
    total = config.get("num_hidden_layers")
    if isinstance(total, int) and not 1 <= keep <= total:
        yield f"{option}: a student of {keep} layers cannot be cut from {total}; ask for 1 to {total}"


def _resnet_layers(config: dict[str, Any]) -> list[int]:
    """As many blocks in every stage, the first convolution, and the head; see transfer/classifier.py."""
    depths, each = config.get("depths", [1]), 3 if config.get("layer_type") == "bottleneck" else 2
    return [each * n * len(depths) + 2 for n in range(1, min(depths) + 1)]


def _default_layers(options: Options, task: Task, base: dict[str, Any]) -> str:
    if _classifies(base):
        start = starts.start_of(task)
        return start.SMOKE_LAYERS if options.smoke else start.LAYERS
    return SMOKE_LAYERS if options.smoke else STUDENT_LAYERS


def _base(options: Options, task: Task) -> dict[str, Any]:
    """The configuration of what students are cut from; which that is, `run` says."""
    local = next((spec for spec in options.teachers if spec.partition(":")[0] == "local"), None)
    if local and not options.logs:
        return _config(local.partition(":")[2])
    if options.assistant:
        return _config(str(options.assistant))
    if RECIPES[options.pattern].needs is not Signal.TEXT and starts.student_classifies(options):
        return _config(starts.start_of(task).SPEC)
    return EMBEDDED


def _config(model: str) -> dict[str, Any]:
    """Of ``model``, a folder or what a classifier is made of; of the embedded model, if it is empty."""
    if not model:
        return EMBEDDED
    if found := starts.named(model):
        return ENCODER if found[0] is encoder else RESNET
    return config_of(Path(model)) or {}


def context(options: Options, task: Task) -> int | None:
    """How many tokens the models on this machine that write can have before them, the least of all; None if unknown.

    Those that classify cut what is too long.
    """
    models = [spec.partition(":")[2] for spec in options.teachers if spec.partition(":")[0] == "local"]
    configs = [] if options.logs else [_config(model) for model in models]
    spec = options.student or ""
    configs.append(_base(options, task) if not spec or spec.isdecimal() else _config(spec))
    places = [config.get("max_position_embeddings") for config in configs if not _classifies(config)]
    return min((n for n in places if isinstance(n, int)), default=None)


def config_of(folder: Path) -> dict[str, Any] | None:
    """What config.json says, of its text model where it has several; None where it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def _classifies(config: dict[str, Any]) -> bool:
    names = config.get("architectures") or [""]
    return str(names[0]).endswith(("ForSequenceClassification", "ForImageClassification", *encoder.ENCODERS))


def _is_number(spec: str) -> bool:
    try:
        float(spec)
    except ValueError:
        return spec.isdigit()  # as ², which int does not read
    return True
