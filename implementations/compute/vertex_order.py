"""What a run on Vertex AI is made from: the request for a custom job, and the files that go up for it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, choose
from ..options import Launch, Machine, Options
from ..plan import requests_of
from ..record import ROOT
from ..registry import RECIPES, TASKS, Package, Signal
from ..settings import make_task
from ..tasks import packages
from ..teachers import encoder, named, starts
from ..teachers.google_cloud import BUCKET, account
from ..teachers.open import open_remote
from ..teachers.teacher import RemoteTeacher, Request
from ..teachers.wire import needs
from .package import REQUIREMENTS, pack
from .sharing import check_shared
from .vertex_worker import CACHE, INPUTS

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1.types import CustomJob

WHO = "vertex"
FOLDER = "distillation-patterns"  # in the bucket, without --output
LOCATION = "us-central1"  # without GOOGLE_CLOUD_LOCATION
PACKAGE = "package.tar.gz"
OUTPUT = r"gs://[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9](/[-\w.!()']+)+/?"
MODEL_FILES = (".safetensors", ".json", ".jinja", ".txt", ".model")  # of which transformers reads a model

# The job's container. Its first argument is the job's folder, the rest is what `distill` is called with.
START = """\
set -eu
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
cd "$(mktemp -d)"
python3 -m pip install --quiet {storage}
python3 - "$1" <<'END'
import sys
import google.auth
from google.cloud import storage
credentials, _ = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
bucket, _, folder = sys.argv[1].removeprefix("gs://").partition("/")
package = storage.Client(credentials=credentials).bucket(bucket).blob(folder + "/{package}")
package.download_to_filename("{package}")
END
tar -xzf {package}
python3 -m pip install --quiet --requirement {requirements}
python3 -m pip install --quiet --no-deps --require-hashes --requirement implementations/teachers/embedded.txt
exec python3 -m implementations.compute.vertex_worker "$@"
"""


@dataclass(frozen=True)
class Order:
    """A job before it is one. ``files`` go up to ``place``, by their path there; ``requests`` is what each of
    ``teachers`` is asked before, those behind a platform. ``command`` is what a record says that it was made with."""

    name: str
    place: str
    parent: str
    request: dict[str, Any]
    files: dict[str, bytes | Path]
    teachers: list[RemoteTeacher]
    requests: list[Request]
    command: str


def order_of(asked: Launch) -> Order:
    """Everything that follows from the command line; nothing is sent. Raises InputError."""
    options, output, location = asked.options, _output(asked.output), _location()
    gpus = asked.machine.count if asked.machine.accelerator else 1
    if gpus > 1:
        check_shared(options, f"give --count 1, not {gpus}")
    project = os.environ.get("GOOGLE_CLOUD_PROJECT") or account(None)[1]
    task = make_task(options)
    named.check(options, task)
    requests = requests_of(options, task)
    teachers = [open_remote(spec) for spec in options.teachers if spec.partition(":")[0] != "local"]
    package = pack([_storage_sdk()], ROOT)
    inputs = _inputs(options)
    arguments = _arguments(options, teachers, gpus)
    made_from = [
        _hash(package),
        arguments,
        {name: _hash(path.read_bytes()) for name, path in inputs.items()},
        [request.key(teacher.identity) for teacher in teachers for request in requests],
        vars(asked.machine),
        [project, location, output],
    ]
    name = f"distill-{options.pattern}-{_hash(json.dumps(made_from).encode())[:12]}"
    place = f"{output}/{name}"
    request = _request(name, [place, *arguments], asked.machine, project)
    as_job(request)
    return Order(
        name=name,
        place=place,
        parent=f"projects/{project}/locations/{location}",
        request=request,
        files={PACKAGE: gzip.compress(package, mtime=0), **inputs},
        teachers=teachers,
        requests=requests,
        command=_public(options.command),
    )


def _output(given: str | None) -> str:
    bucket = os.environ.get(BUCKET, "").removeprefix("gs://").rstrip("/")
    output = given or (f"gs://{bucket}/{FOLDER}" if bucket else "")
    if not re.fullmatch(OUTPUT, output):
        wrong = f"--output {given}" if given else f"{BUCKET}={bucket}, and no --output" if bucket else "--output"
        raise InputError(f"{wrong}: give a folder in Cloud Storage, gs://BUCKET/FOLDER, or set {BUCKET} to a bucket")
    return output.rstrip("/")


def _location() -> str:
    location = os.environ.get("GOOGLE_CLOUD_LOCATION") or LOCATION
    if "-" not in location:  # global, us and eu have models and no machines
        raise InputError(
            f"vertex: GOOGLE_CLOUD_LOCATION is {location}, which has no machines; set it to a region, as {LOCATION}"
        )
    return location


def _storage_sdk() -> str:
    """The requirement for what the job's folder is reached with."""
    with needs(WHO, "google-cloud-storage"):  # PackageNotFoundError is an ImportError
        return f"google-cloud-storage=={metadata.version('google-cloud-storage')}"


def _inputs(options: Options) -> dict[str, Path]:
    """The files that the run reads, by where the job finds them."""
    files: dict[str, Path] = {}
    if options.prompts:
        files[_there("prompts", options.prompts)] = options.prompts
    elif data := TASKS[options.task or RECIPES[options.pattern].task].data:
        files[_cached(data)] = packages.archive(data)
    if _needs_encoder(options):
        files[_cached(encoder.PACKAGE)] = packages.archive(encoder.PACKAGE)
    for kind, folder in (
        ("student", _student_folder(options)),
        ("assistant", options.assistant),
        *_teacher_folders(options).values(),
    ):
        if folder:
            for path in sorted(folder.iterdir()):
                if path.suffix in MODEL_FILES:
                    files[f"{_there(kind, folder)}/{path.name}"] = path
    return files


def _cached(package: Package) -> str:
    """Where the job finds the archive of ``package``, which it need not download then."""
    return f"{CACHE}{packages.FOLDER}/{package.file}"


def _needs_encoder(options: Options) -> bool:
    """Whether the run unpacks the encoder: where it is named, or bridges between a platform and a classifier."""
    if any(found and found[0] is encoder for found in map(starts.named, (*options.teachers, options.student or ""))):
        return True
    here = options.assistant or any(spec.partition(":")[0] == "local" for spec in options.teachers)
    return not here and RECIPES[options.pattern].needs is not Signal.TEXT and starts.student_classifies(options)


def _student_folder(options: Options) -> Path | None:
    student = options.student or ""
    return None if not student or student.isdigit() or starts.named(student) else Path(student)


def _teacher_folders(options: Options) -> dict[str, tuple[str, Path]]:
    """The models on this machine that --teacher names, with what they are called there: two may have one name."""
    folders = (spec for spec in options.teachers if spec.startswith("local:") and spec != "local:")
    folders = (spec for spec in folders if not starts.named(spec))
    return {spec: (f"teacher{n or ''}", Path(spec.removeprefix("local:"))) for n, spec in enumerate(folders)}


def _there(kind: str, path: Path) -> str:
    """Where the job finds ``path``; its name is kept, for a report shows it."""
    return f"{INPUTS}{kind}/{path.resolve().name}"


def _arguments(options: Options, teachers: list[RemoteTeacher], gpus: int) -> list[str]:
    """Of `distill`, there: with several GPUs, every training uses all of them."""
    student = _student_folder(options)
    given = {
        "--student": _there("student", student) if student else options.student,
        "--assistant": _there("assistant", options.assistant) if options.assistant else None,
        "--gold": options.gold,
        "--task": options.task,
        "--prompts": _there("prompts", options.prompts) if options.prompts else None,
        "--instruction": options.instruction or None,
        "--max-new-tokens": options.max_new_tokens if options.prompts else None,
        "--seed": options.seed,
        "--seeds": options.seeds,
    }
    flags = {"--smoke": options.smoke, "--record": options.record, "--skip-empty": options.skip_empty}
    values, folders = [], _teacher_folders(options)
    for spec in options.teachers:
        values += ["--teacher", f"local:{_there(*folders[spec])}" if spec in folders else spec]
    for teacher in teachers:
        values += ["--answered", teacher.identity]
    values += [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    values += [name for name, on in flags.items() if on]
    if gpus > 1:
        return ["launch", options.pattern, "--on", "accelerate", "--count", str(gpus), *values]
    return ["run", options.pattern, *values]


def _request(name: str, arguments: list[str], machine: Machine, project: str) -> dict[str, Any]:
    """The CustomJob, as Vertex AI's REST interface writes it."""
    gpus = {"acceleratorType": machine.accelerator, "acceleratorCount": machine.count} if machine.accelerator else {}
    start = START.format(storage=_storage_sdk(), package=PACKAGE, requirements=REQUIREMENTS)
    container = {
        "imageUri": machine.image,
        "command": ["bash", "-c", start, "distill"],
        "args": arguments,
        "env": [{"name": "GOOGLE_CLOUD_PROJECT", "value": project}],
    }
    pool = {
        "machineSpec": {"machineType": machine.type, **gpus},
        "replicaCount": "1",
        "containerSpec": container,
    }
    return {
        "displayName": name,
        "jobSpec": {
            "workerPoolSpecs": [pool],
            "scheduling": {"strategy": "SPOT" if machine.spot else "STANDARD"},
            **({"serviceAccount": machine.service_account} if machine.service_account else {}),
        },
    }


def as_job(request: dict[str, Any]) -> CustomJob:
    """``request`` for the SDK, which knows the accelerators. Raises InputError."""
    with needs(WHO, "google-cloud-aiplatform"):
        from google.cloud.aiplatform_v1.types import AcceleratorType, CustomJob
    spec = request["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]
    known = [kind.name for kind in AcceleratorType if kind]
    if (given := spec.get("acceleratorType", known[0])) not in known:
        raise InputError(f"--accelerator {given}: {choose(given, known)}")
    return CustomJob.from_json(json.dumps(request))


def _public(command: str) -> str:
    """``command`` without the names of the user's own bucket and account: a record is published."""
    words = shlex.split(command)
    own = ("--output", "--service-account")
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before not in own and word not in own and not word.startswith(tuple(f"{name}=" for name in own))
    ]
    return shlex.join(kept)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
