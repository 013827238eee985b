"""What the services of Google Cloud share: credentials, the project that pays, and a refusal of either."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import InputError
from .teacher import Dropped

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.auth.exceptions import GoogleAuthError

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
