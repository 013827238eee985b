"""What a run keeps on disk, so that nothing is computed or asked twice.

    runs/ledger.sqlite      every answer of every model, by content
    runs/models/KEY/        every model that was cut or trained, by what it was made from
    runs/signals/KEY/       a teacher's distribution at every token of a transfer set
    runs/RUN/               one run: record.json, items.jsonl, report.html, student -> ../models/KEY/model
    runs/latest             -> the run that ended last

Keys are hashes of content (code, weights, rows, settings), so a run that is interrupted and started again finds what it
had, and two runs that share a step share its result.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from transformers import AutoTokenizer

from .errors import InputError, disk_errors
from .privacy import Redactor
from .progress import Stages
from .record import Curve
from .teachers.classifier import ClassifierTeacher
from .teachers.collect import Collected, Collector
from .teachers.encoder import kind
from .teachers.ledger import Ledger
from .teachers.local import LocalTeacher, content_hash, load
from .teachers.spending import Spending
from .teachers.teacher import LocalModel, RemoteTeacher, Request, Teacher
from .transfer import classifier, processes, students, trainer
from .transfer.chat import row
from .transfer.config import Processes, TrainConfig
from .transfer.device import compute_dtype, pick_device
from .transfer.job import Job
from .transfer.signals import cache_key
from .workdir import lock

Pairs = list[tuple[str, str]]  # (prompt, answer)


class Workspace:
    """The folder ``root`` and the steps that fill it. Every step shows a bar and returns at once if it was done.

    A context manager, for it holds the folder's lock, the ledger, and connections to platforms. Trainings run in this
    process, or in ``processes``.
    """

    def __init__(
        self,
        root: Path,
        code: str,
        stages: Stages,
        device: str = "auto",
        spending: Spending | None = None,
        processes: Processes | None = None,
    ):
        self.root, self.code, self.stages, self.device, self.processes = root, code, stages, device, processes
        self._lock = lock(root)
        self.ledger = Ledger(root / "ledger.sqlite")
        self.collector = Collector(self.ledger, spending, lambda text: stages.console.print(text, style="yellow"))
        self.redactor: Redactor | None = None  # where there is one, no prompt reaches a platform without it
        self._identity: dict[Path, str] = {}

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *error: object) -> None:
        self.collector.__exit__(*error)
        self.ledger.__exit__(*error)
        if self.redactor:
            self.redactor.close()
        self._lock.close()

    def identity(self, folder: Path) -> str:
        """The content hash of the model in ``folder``, read once."""
        if folder not in self._identity:
            self._identity[folder] = content_hash(folder)
        return self._identity[folder]

    def folder(self, kind: str, **made_from: object) -> Path:
        """Where the model that was made like this belongs."""
        content = json.dumps({"kind": kind, "code": self.code, **made_from}, sort_keys=True)
        return self.root / "models" / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def cut(self, teacher: Path, layers: int) -> Path:
        """A student with ``layers`` of the layers of ``teacher``."""
        folder = self.folder("cut", teacher=self.identity(teacher), layers=layers) / "model"
        if not folder.exists():
            with self.stages.stage(f"Cut a student of {layers} layers", 3) as advance, disk_errors(folder):
                classifies = kind(teacher) == "classifier"
                model, tokenizer = (classifier.load if classifies else load)(teacher, "cpu", "float32")
                advance(1)
                try:
                    student = (classifier.cut if classifies else students.cut)(model, layers)
                except ValueError as error:
                    raise InputError(f"--student: {error}") from error
                advance(2)
                folder.parent.mkdir(parents=True, exist_ok=True)
                trainer.save(student, tokenizer, folder)
        return folder

    def classifier(self, encoder: Path, labels: tuple[str, ...]) -> Path:
        """A classifier made of ``encoder`` that has learnt nothing yet."""
        folder = self.folder("classifier", encoder=self.identity(encoder), labels=labels) / "model"
        with disk_errors(folder):
            return classifier.make(encoder, labels, folder)

    def train(
        self, title: str, start: Path, instruction: str, pairs: Pairs, config: TrainConfig, teacher: Path | None = None
    ) -> tuple[Path, Curve]:
        """The model in ``start`` trained on ``pairs``; the folder it is in, and its curve.

        ``teacher`` is the model whose distribution the loss gives a share to, if it does.
        """
        settings = {k: v for k, v in asdict(config).items() if k != "checkpoint_seconds"}
        where = pick_device(self.device)
        settings |= {"device": where.type, "dtype": str(compute_dtype(where))}  # they change the weights
        if teacher:
            settings["teacher"] = self.identity(teacher)
        folder = self.folder("trained", start=self.identity(start), instruction=instruction, pairs=pairs, **settings)
        if (folder / trainer.FINISHED).exists():
            return folder / "model", Curve.model_validate_json((folder / trainer.FINISHED).read_text())
        if kind(start) == "classifier":
            job = self._class_job(start, folder, pairs, config, teacher)
            with self.stages.stage(title, config.steps) as advance, disk_errors(folder):
                return folder / "model", job.run(self.device, advance)
        tokenizer = AutoTokenizer.from_pretrained(start, local_files_only=True)
        rows = [row(tokenizer, instruction, prompt, answer) for prompt, answer in pairs]
        job = Job(start, folder, rows, config, teacher)
        if job.cached:
            job = self._with_signals(job)
        with self.stages.stage(title, config.steps) as advance, disk_errors(folder):
            if self.processes:
                return folder / "model", processes.train(job, where.type, self.processes, advance)
            return folder / "model", job.run(self.device, advance)

    def _class_job(
        self, start: Path, folder: Path, pairs: Pairs, config: TrainConfig, teacher: Path | None
    ) -> classifier.ClassJob:
        """The training of a classifier on the labels that the answers name. Raises InputError when none names one."""
        if self.processes:
            raise InputError("a classifier is trained by one process; leave --on accelerate out")
        labels = classifier.labels_in(start)
        named = [(prompt, classifier.label_of(answer, labels)) for prompt, answer in pairs]
        named = [(prompt, label) for prompt, label in named if label is not None]
        if not named:
            raise InputError(f"none of {len(pairs)} answers names one of the labels: {', '.join(labels)}")
        if others := len(pairs) - len(named):
            self.stages.console.print(
                f"{others} of {len(pairs)} answers name no label and are left out", style="yellow"
            )
        texts, numbers = map(list, zip(*named, strict=True))
        return classifier.ClassJob(start, folder, texts, numbers, config, teacher)

    def _with_signals(self, job: Job) -> Job:
        """``job`` with the folder of its teacher's signals, filled."""
        identity = f"{self.identity(job.teacher)}:{compute_dtype(pick_device(self.device))}"
        job = replace(job, signals=self.root / "signals" / cache_key(identity, job.rows, job.codec()))
        with self.stages.stage("Read the teacher's distributions", len(job.rows)) as advance, disk_errors(job.signals):
            job.fill(self.device, advance)
        return job

    def ask(self, title: str, teacher: Teacher, requests: list[Request]) -> Collected:
        """An answer of ``teacher`` to every request, through the ledger."""
        if self.redactor and isinstance(teacher, RemoteTeacher):
            requests = [replace(request, prompt=self.redactor.redact(request.prompt)) for request in requests]
            collected = self._collect(title, teacher, requests)
            answers = [replace(answer, text=self.redactor.restore(answer.text)) for answer in collected.answers]
            return replace(collected, answers=answers)
        return self._collect(title, teacher, requests)

    def _collect(self, title: str, teacher: Teacher, requests: list[Request]) -> Collected:
        if len(self.ledger.answered(teacher.identity, requests)) == len(requests):
            return self.collector.collect(teacher, requests)
        with self.stages.stage(title, len(requests)) as advance, disk_errors(self.root):
            return self.collector.collect(teacher, requests, advance)

    def model(self, folder: Path, name: str) -> LocalModel:
        """The model in ``folder`` as something that answers."""
        made = f"{self.identity(folder)}:{self.code[:12]}"  # other code may phrase the prompts or decode otherwise
        answers = ClassifierTeacher if kind(folder) == "classifier" else LocalTeacher
        return answers(folder, name, self.device, identity=made)
