"""What everything on AWS shares: boto3's clients, and the class of what they raise.

Credentials come from boto3's own chain: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, single sign-on, the
machine's role, or a Bedrock API key in AWS_BEARER_TOKEN_BEDROCK, which opens Bedrock alone and not its files in S3.
AWS_REGION or AWS_DEFAULT_REGION names the region, and AWS_ENDPOINT_URL_… of a service another endpoint.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import InputError
from .teacher import Busy, Dropped, Rejected, Request
from .wire import failure, lost, needs, said

if TYPE_CHECKING:
    from botocore.client import BaseClient

BUSY = {"ThrottlingException", "ServiceQuotaExceededException", "ModelNotReadyException", "TooManyRequestsException"}
DENIED = {"AccessDeniedException", "AccessDenied"}  # as Bedrock and as S3 call it
CREDENTIALS = (
    "run: aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or AWS_BEARER_TOKEN_BEDROCK"
)
NOTHING = Request("", "", 0)  # what a message about a job may repeat


def open_client(service: str, timeout: float, threads: int = 1) -> BaseClient:
    """boto3's client of ``service``, without retries. Raises InputError: no package, no credentials, no region.

    ``timeout`` is in seconds, to connect and between two bytes; ``threads`` is how many may use it at once.
    """
    with needs("bedrock", "boto3"):
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, NoRegionError
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=timeout,
        read_timeout=timeout,
        max_pool_connections=threads,
        tcp_keepalive=True,
    )
    try:
        session = boto3.Session()
        if session.get_credentials() is None and not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
            raise InputError(f"bedrock: no AWS credentials; {CREDENTIALS}, or choose another --teacher")
        # boto3 itself reads AWS_DEFAULT_REGION alone.
        return session.client(service, region_name=os.environ.get("AWS_REGION") or None, config=config)
    except NoRegionError:
        raise InputError("bedrock: no region; set AWS_REGION to one that offers the model") from None
    except BotoCoreError as error:
        raise InputError(f"bedrock: boto3 cannot start ({type(error).__name__}); {CREDENTIALS}") from None


def common_failure(error: Exception, name: str, permissions: str) -> Dropped | InputError | None:
    """The exception for what is about the line or the account, whatever was asked; None for the rest.

    ``permissions`` is what the identity must be allowed to do.
    """
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError, IncompleteReadError

    if isinstance(error, BotoCoreError) and not isinstance(
        error, (ConnectionError, HTTPClientError, IncompleteReadError)
    ):
        return InputError(f"{name}: boto3 cannot ask ({type(error).__name__}); {CREDENTIALS}")
    if not isinstance(error, ClientError):
        return lost(error)
    status, code = status_of(error), code_of(error)
    if code in DENIED:
        return InputError(f"{name}: access denied (HTTP {status}); allow the identity {permissions}")
    if status in (401, 403):
        return InputError(f"{name}: AWS refused the credentials (HTTP {status}, {code}); {CREDENTIALS}")
    return None


def job_failure(error: Exception, name: str, permissions: str, bucket: str) -> Busy | Dropped | Rejected | InputError:
    """The exception for a question about a job or its files. ``bucket`` is where the user named it."""
    if found := common_failure(error, name, permissions):
        return found
    if code_of(error) == "NoSuchBucket":
        return InputError(f"{name}: no such bucket (HTTP {status_of(error)}); check {bucket}")
    return asked_failure(error, said(message_of(error), NOTHING))


def asked_failure(error: Exception, reason: str) -> Busy | Dropped | Rejected:
    """The exception for what AWS answers to this request or at this moment. ``reason`` is safe to show."""
    code = code_of(error)
    retry_after = error.response["ResponseMetadata"]["HTTPHeaders"].get("retry-after")
    return failure(429 if code in BUSY else status_of(error), reason or code, retry_after)


def status_of(error: Exception) -> int:
    """The HTTP status of a ClientError."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def code_of(error: Exception) -> str:
    """AWS's name of an error; empty for what did not come from AWS."""
    response = getattr(error, "response", None)
    return response["Error"].get("Code", "") if isinstance(response, dict) and "Error" in response else ""


def message_of(error: Exception) -> str:
    """What AWS says about a ClientError."""
    return error.response["Error"].get("Message", "")


def place(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
