"""What the services of Google Cloud share: credentials, the project that pays, endpoints, and what a failure means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import InputError
from .teacher import Busy, Dropped, Rejected, Request
from .wire import failure, lost, said

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.credentials import Credentials
    from google.auth.exceptions import GoogleAuthError

BUCKET = "GOOGLE_CLOUD_STORAGE_BUCKET"  # the environment variable
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LOGIN = "run: gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to a key file"


def account(credentials: Credentials | None) -> tuple[Credentials, str]:
    """``credentials``, else the application default ones, and the project. Raises InputError where one is missing."""
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    project = os.environ.get("GOOGLE_CLOUD_PROJECT")
    try:
        if credentials is None:
            credentials, default = google.auth.default(scopes=[SCOPE])
            project = project or default
    except DefaultCredentialsError:
        raise InputError(f"vertex: no Google Cloud credentials; {LOGIN}, or choose another --teacher") from None
    if not project:
        raise InputError("vertex: no project; set GOOGLE_CLOUD_PROJECT to the Google Cloud project that pays")
    return credentials, project


def no_token(name: str, error: GoogleAuthError) -> Dropped | InputError:
    """The exception for credentials that gave no access token."""
    if error.retryable:
        return Dropped("no access token came", billed=False)
    return InputError(f"{name}: Google Cloud refused the credentials; {LOGIN}")


def no_access(name: str, status: int) -> InputError:
    """The error of an account, or a project, that may not use Vertex AI."""
    return InputError(
        f"{name}: Google Cloud refused access (HTTP {status}); check that the project has billing and the Vertex AI "
        f"API, that the account may use them (roles/aiplatform.user), or {LOGIN}"
    )


def endpoint(location: str) -> str:
    """Of Vertex AI's jobs: where the models' SDK goes too. That of jobs knows neither its variable nor every place."""
    if elsewhere := os.environ.get("GOOGLE_VERTEX_BASE_URL"):
        return elsewhere.rstrip("/")
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in ("us", "eu"):
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


@contextmanager
def failures(name: str, bucket: str = "") -> Iterator[None]:
    """Turn what the SDKs of jobs and of Cloud Storage raise into Busy, Dropped, Rejected or InputError.

    ``bucket`` is the one that was asked; empty when Vertex AI was. What is an InputError already stays as it is.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except InputError:
        raise
    except GoogleAuthError as error:
        raise no_token(name, error) from None
    except GoogleAPICallError as error:
        raise _failure(name, error, bucket) from None
    except Exception as error:
        raise lost(error) from None


def _failure(name: str, error: GoogleAPICallError, bucket: str) -> Busy | Dropped | Rejected | InputError:
    status = error.code or 500
    if bucket and status == 404:
        return InputError(
            f"{name}: there is no bucket gs://{bucket} (HTTP 404); check {BUCKET}, or run: gcloud storage "
            f"buckets create gs://{bucket}"
        )
    if bucket and status in (401, 403):
        return InputError(
            f"{name}: Google Cloud refused access to gs://{bucket} (HTTP {status}); give the account "
            f"roles/storage.objectUser on it, or {LOGIN}"
        )
    if status in (401, 403):
        return no_access(name, status)
    # The message follows method and address, and cannot repeat a prompt: those are in files alone.
    message = error.message.partition(": ")[2] or error.message
    headers = getattr(error.response, "headers", {})
    return failure(status, said(message, Request("", "", 0)), headers.get("retry-after"))
