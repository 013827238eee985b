"""A folder in Cloud Storage, for files that go there and come back."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import disk_errors
from ..teachers.google_cloud import account
from ..teachers.wire import needs

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket


class Folder:
    """``gs://BUCKET/PATH``: its objects by their path below it. The SDK tries again for two minutes.

    Raises InputError: no package, no credentials, no project.
    """

    def __init__(self, uri: str):
        with needs("vertex", "google-cloud-storage"):
            from google.cloud import storage
        credentials, project = account(None)
        self.bucket_name, self.path = split(uri)
        self._bucket: Bucket = storage.Client(project=project, credentials=credentials).bucket(self.bucket_name)

    def list(self, below: str = "") -> dict[str, Blob]:
        """Every object whose path begins with ``below``, in order."""
        start = f"{self.path}/"
        blobs = self._bucket.client.list_blobs(self._bucket, prefix=start + below)
        return {blob.name.removeprefix(start): blob for blob in blobs}

    def read(self, name: str) -> bytes:
        return self._blob(name).download_as_bytes()

    def write(self, name: str, content: bytes | Path) -> None:
        """The object is there whole, or not at all."""
        if isinstance(content, Path):
            self._blob(name).upload_from_filename(content, content_type="application/octet-stream")
        else:
            self._blob(name).upload_from_string(content, content_type="application/octet-stream")

    def fetch(self, blob: Blob, path: Path) -> None:
        """The object in the file ``path``, which is there whole or not at all; nothing where it is the same already.

        Raises InputError when the disk is full or may not be written.
        """
        if path.is_file() and path.stat().st_size == blob.size and _checksum(path) == blob.crc32c:
            return
        part = path.with_name(f"{path.name}.part")
        with disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(part)
            part.replace(path)

    def delete(self, name: str) -> None:
        self._blob(name).delete()

    def _blob(self, name: str) -> Blob:
        return self._bucket.blob(f"{self.path}/{name}")


def split(uri: str) -> tuple[str, str]:
    """Bucket and path of ``gs://BUCKET/PATH``."""
    bucket, _, path = uri.removeprefix("gs://").partition("/")
    return bucket, path.rstrip("/")


def _checksum(path: Path) -> str:
    import google_crc32c

    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        for _ in checksum.consume(file, 2**20):
            pass
    return base64.b64encode(checksum.digest()).decode()
