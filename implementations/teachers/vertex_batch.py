"""Batch jobs of Gemini on Vertex AI: files of requests and answers in Cloud Storage, and the job between them.

GOOGLE_CLOUD_STORAGE_BUCKET names the bucket, on which the account needs roles/storage.objectUser. Each job has a folder
of its own there, ``distillation-patterns/TIME-NUMBER``: ``requests.jsonl`` has the prompts, ``keys.json`` the ledger's
keys, ``answers`` what came back. All of it stays, so that answers can be fetched again; a lifecycle rule of the bucket
can delete it after some days.

A row of a job takes no id, and Google advises against a label of its own for each. A row of the answers repeats its
request, so it is known by its prompt and, where several have the same prompt, by its instruction.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import InputError, disk_errors
from .google_cloud import BUCKET, endpoint, failures
from .teacher import Dropped, Request
from .wire import digest, needs

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.aiplatform_v1.types import BatchPredictionJob
    from google.cloud.storage import Blob

FOLDER = "distillation-patterns"  # in the bucket, for all jobs
UNFINISHED = {"FAILED", "CANCELLED", "EXPIRED"}
ENDED = {"SUCCEEDED", "PARTIALLY_SUCCEEDED", *UNFINISHED}
Keys = dict[str, dict[str, str]]  # by the hash of the prompt, then by that of the instruction


class Batches:
    """The batch jobs of one model in one location. ``timeout`` is in seconds, for each pause of the other side.

    Every method raises Busy, Dropped, Rejected, and InputError for what no request mends.
    """

    def __init__(self, name: str, model: str, location: str, account: tuple[Credentials, str], timeout: float):
        with needs("vertex", "google-cloud-aiplatform"):
            from google.cloud import storage
            from google.cloud.aiplatform_v1.services.job_service import JobServiceClient
        credentials, project = account
        self.name, self.model, self.timeout = name, model, timeout
        self.parent = f"projects/{project}/locations/{location}"
        # Over REST, as Google's own layer above this client does at the global location.
        self._service = JobServiceClient(
            credentials=credentials, transport="rest", client_options={"api_endpoint": endpoint(location)}
        )
        self._storage = storage.Client(project=project, credentials=credentials)

    def close(self) -> None:
        self._service.transport.close()
        self._storage.close()

    async def submit(self, requests: dict[str, Request], rows: dict[str, dict[str, Any]]) -> str:
        """Start a job for ``requests``, whose bodies are ``rows``. Returns its resource name."""
        bucket, folder = _bucket(), f"{FOLDER}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
        keys = json.dumps(self._keys(requests))
        lines = "".join(json.dumps({"request": row}) + "\n" for row in rows.values())
        with failures(self.name, bucket):
            await asyncio.to_thread(self._upload, bucket, f"{folder}/keys.json", keys)
            await asyncio.to_thread(self._upload, bucket, f"{folder}/requests.jsonl", lines)
        job = {
            "display_name": self._title(requests),
            "model": f"publishers/google/models/{self.model}",
            "input_config": {
                "instances_format": "jsonl",
                "gcs_source": {"uris": [f"gs://{bucket}/{folder}/requests.jsonl"]},
            },
            "output_config": {
                "predictions_format": "jsonl",
                "gcs_destination": {"output_uri_prefix": f"gs://{bucket}/{folder}/answers"},
            },
        }
        create = self._service.create_batch_prediction_job
        with failures(self.name):
            started = await asyncio.to_thread(
                create, parent=self.parent, batch_prediction_job=job, timeout=self.timeout
            )
        return started.name

    async def find(self, since: datetime, keys: Collection[str]) -> list[str]:
        """The newest first."""
        wanted = f'display_name="{self._title(keys)}" AND create_time>="{since.isoformat()}"'
        request = {"parent": self.parent, "filter": wanted}

        def every_page() -> list[BatchPredictionJob]:
            return list(self._service.list_batch_prediction_jobs(request, timeout=self.timeout))

        with failures(self.name):
            jobs = await asyncio.to_thread(every_page)
        return [job.name for job in sorted(jobs, key=lambda job: job.create_time, reverse=True)]

    async def progress(self, job: str) -> tuple[int, bool]:
        seen = await self._get(job)
        return seen.completion_stats.successful_count + seen.completion_stats.failed_count, _state(seen) in ENDED

    async def results(self, job: str) -> AsyncIterator[tuple[str, dict[str, Any] | Dropped]]:
        """(Key, row of the answers or why there is none). Of a job whose files are gone there is nothing."""
        seen = await self._get(job)
        state = _state(seen)
        if state not in ENDED:
            raise Dropped("the job has not ended", billed=False)
        bucket, folder = _place(seen)
        with failures(self.name, bucket):
            keys = await asyncio.to_thread(self._download_keys, bucket, folder)
            left = {key for alike in keys.values() for key in alike.values()}
            for blob in await asyncio.to_thread(self._answers, bucket, folder) if keys else ():
                # In a file, for log-probabilities can make it larger than memory.
                with disk_errors(Path(gettempdir()), "TMPDIR"), TemporaryFile() as file:
                    await asyncio.to_thread(blob.download_to_file, file, timeout=self.timeout, retry=None)
                    file.seek(0)
                    for row in map(json.loads, file):
                        if key := _key(row, keys):
                            left.discard(key)
                            yield key, row
        for key in left if state in UNFINISHED else ():
            yield key, Dropped(_why(seen, state), billed=False)

    async def cancel(self, job: str) -> None:
        with failures(self.name):
            await asyncio.to_thread(self._service.cancel_batch_prediction_job, name=job, timeout=self.timeout)

    async def _get(self, job: str) -> BatchPredictionJob:
        with failures(self.name):
            return await asyncio.to_thread(self._service.get_batch_prediction_job, name=job, timeout=self.timeout)

    def _title(self, keys: Collection[str]) -> str:
        """The display name of a job, by which it is found. Google takes up to 128 characters."""
        return f"{FOLDER} {digest(keys)}: {len(keys)} requests to {self.model}"

    def _keys(self, requests: dict[str, Request]) -> Keys:
        keys: Keys = {}
        for key, request in requests.items():
            if keys.setdefault(_hash(request.prompt), {}).setdefault(_hash(request.instruction), key) != key:
                raise InputError(
                    f"{self.name}: two requests have the same instruction and prompt, so a job's answers cannot be "
                    "told apart; give --no-batch"
                )
        return keys

    def _upload(self, bucket: str, path: str, text: str) -> None:
        """The SDK may try again for its two minutes: nothing is paid yet, and the same file comes of it."""
        self._storage.bucket(bucket).blob(path).upload_from_string(text, "application/json", timeout=self.timeout)

    def _download_keys(self, bucket: str, folder: str) -> Keys:
        from google.api_core.exceptions import NotFound

        try:
            blob = self._storage.bucket(bucket).blob(f"{folder}/keys.json")
            return json.loads(blob.download_as_bytes(timeout=self.timeout, retry=None))
        except NotFound:
            return {}

    def _answers(self, bucket: str, folder: str) -> list[Blob]:
        blobs = self._storage.list_blobs(bucket, prefix=f"{folder}/answers/", timeout=self.timeout, retry=None)
        return [blob for blob in blobs if blob.name.endswith(".jsonl")]


def why_no_bucket() -> str:
    """Why jobs cannot have files here, and what to do; empty when they can."""
    return "" if _bucket() else f"vertex: no bucket for the files of a job; set {BUCKET} to one of Cloud Storage"


def _bucket() -> str:
    return os.environ.get(BUCKET, "").removeprefix("gs://").rstrip("/")


def _state(job: BatchPredictionJob) -> str:
    return job.state.name.removeprefix("JOB_STATE_")


def _place(job: BatchPredictionJob) -> tuple[str, str]:
    """Bucket and folder of the job's files."""
    [requests] = job.input_config.gcs_source.uris
    bucket, _, path = requests.removeprefix("gs://").partition("/")
    return bucket, path.rpartition("/")[0]


def _why(job: BatchPredictionJob, state: str) -> str:
    """Why a request of a job that has not succeeded has no answer. The message of its error could repeat a prompt."""
    from google.rpc.code_pb2 import Code

    if state != "FAILED":
        return state.lower()
    return f"the job failed ({Code.Name(job.error.code)}); see {job.name} in the Google Cloud console"


def _key(row: dict[str, Any], keys: Keys) -> str | None:
    """The key of the request that a row of the answers repeats; None where it cannot be told."""
    try:
        request = row["request"]
        [prompt] = map(_text, request["contents"])
        alike = keys[_hash(prompt)]
        return next(iter(alike.values())) if len(alike) == 1 else alike[_hash(_text(request.get("systemInstruction")))]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _text(content: dict[str, Any] | None) -> str:
    return "".join(part.get("text") or "" for part in content["parts"]) if content else ""


def _hash(text: str) -> str:
    return sha256(json.dumps(text).encode()).hexdigest()
