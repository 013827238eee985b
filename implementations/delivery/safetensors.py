"""A student as a plain folder that ``AutoModelForCausalLM.from_pretrained`` loads, with a card that says what it is."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import figures
from ..progress import Stages
from ..record import ArmKind, Record
from ..registry import PLATFORMS
from ..teachers import terms
from ..teachers.local import load
from ..teachers.terms import Terms
from . import Precision, Target
from .files import Exported, appearing, write_report
from .readers import Transformers
from .student import Student
from .verify import Expected, compare

DTYPES = {Precision.F32: "float32", Precision.BF16: "bfloat16", Precision.F16: "float16"}


def export(student: Student, expected: Expected, folder: Path, precision: Precision, stages: Stages) -> Exported:
    """Write ``student`` to ``folder``, which appears when it has been read again. Raises Moved and InputError."""
    with appearing(folder) as part:
        with stages.stage(f"Write {folder}", None):
            model, tokenizer = load(student.folder, "cpu", DTYPES[precision])
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            for weights in part.glob("*.safetensors"):  # which are written for their owner alone
                weights.chmod((part / "config.json").stat().st_mode)
            (part / "README.md").write_text(card(student, precision), "utf-8")
        with stages.stage("Read it again with transformers", None):
            agreements = [compare(expected, Transformers.of(part), student, precision)]
        write_report(part / "export.json", student, Target.SAFETENSORS, precision, sorted(part.iterdir()), agreements)
    return Exported(str(folder), folder / "export.json", agreements)


def card(student: Student, precision: Precision) -> str:
    """The model card: what ``student`` was distilled from, what its record measured, what its makers' terms say."""
    record = student.record
    source = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return source.get_template("card.md.j2").render(
        record=record,
        name=student.name,
        precision=DTYPES[precision],
        instruction=student.instruction,
        arms=[
            (arm.title, arm.kind is ArmKind.STUDENT_DISTILLED, arm.metrics["heldout"][record.primary_metric])
            for arm in record.arms
        ],
        terms=_terms(record),
        notice=terms.NOTICE,
        figures=figures,
    )


def _terms(record: Record) -> list[tuple[str, Terms | None]]:
    """What is known of the terms of all who taught the student, with the names of those whose terms they are.

    A committee's teachers are all among its members, also one that completes it; a tuned one is named after the model.
    """
    teachers = [member.name.partition(", tuned on ")[0] for member in record.members] or [record.teacher.name]
    whose: dict[Terms | None, list[str]] = {}
    for name in dict.fromkeys(teachers):
        platform, _, model = name.partition(":")
        found = terms.find(platform, model) if platform in PLATFORMS else terms.find("local")
        whose.setdefault(found, []).append(name)
    return [(", ".join(names), found) for found, names in whose.items()]
