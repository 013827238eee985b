"""Every platform as a server of the tests' own: what speaks its protocol, and the environment that points there."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from loopback import Call, Fault, Loopback, Model, Reply
from protocols import bedrock, claude, ollama, openai, vertex

KEY = "sk-test-secret-0123456789abcdef"


class Platform(NamedTuple):
    """``teacher`` is what --teacher says; ``asks`` whether a call is a request for an answer."""

    teacher: str
    respond: Callable[[Model], Callable[[Call], Reply]]
    environment: Callable[[str, Path], dict[str, str]]
    asks: Callable[[Call], bool]
    package: str


def _vertex(url: str, folder: Path) -> dict[str, str]:
    """Credentials by workload identity, whose tokens the same server gives out."""
    (folder / "subject").write_text("who this machine is")
    (credentials := folder / "credentials.json").write_text(
        json.dumps(
            {
                "type": "external_account",
                "audience": "a pool",  # named in full, google-auth would ask Google which regions it may use
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": f"{url}/token",
                "credential_source": {"file": str(folder / "subject")},
            }
        )
    )
    return {
        "GOOGLE_VERTEX_BASE_URL": url,
        "STORAGE_EMULATOR_HOST": url,
        "GOOGLE_CLOUD_STORAGE_BUCKET": vertex.BUCKET,
        "GOOGLE_CLOUD_PROJECT": "proj",
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "CLOUDSDK_CONFIG": str(folder / "gcloud"),
        "NO_GCE_CHECK": "true",
    }


def _bedrock(url: str, folder: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_ENDPOINT_URL_BEDROCK": url,
        "AWS_ENDPOINT_URL_S3": url,
        "BEDROCK_BATCH_BUCKET": "files",
        "BEDROCK_BATCH_ROLE_ARN": "arn:aws:iam::123456789012:role/batch",
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": KEY,
    }


PLATFORMS = {
    "claude": Platform(
        "claude:claude-haiku-5-5",
        claude.respond,
        lambda url, folder: {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY},
        lambda call: call.path == "/v1/messages",
        "anthropic",
    ),
    "vertex": Platform(
        "vertex:gemini-2.5-flash",
        vertex.respond,
        _vertex,
        lambda call: call.path.endswith(":generateContent"),
        "google.genai",
    ),
    "langchain": Platform(
        "langchain:anthropic:claude-haiku-5-5",
        claude.respond,
        lambda url, folder: {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY},
        lambda call: call.path == "/v1/messages",
        "langchain",
    ),
    "openai-compatible": Platform(
        "langchain:openai:tiny",
        openai.respond,
        lambda url, folder: {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY},
        lambda call: call.path == "/v1/chat/completions",
        "langchain",
    ),
    "ollama": Platform(
        "ollama:tiny",
        ollama.respond,
        lambda url, folder: {"OLLAMA_HOST": url},
        lambda call: call.path == "/api/chat",
        "ollama",
    ),
    "bedrock": Platform(
        "bedrock:mistral.small-v1:0",
        bedrock.respond,
        _bedrock,
        lambda call: call.path.endswith("/converse"),
        "boto3",
    ),
}


@contextmanager
def serving(
    name: str,
    model: Model,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[int, Call], Fault] = lambda n, call: None,
    delay: float = 0.0,
):
    """The platform of that name with ``model`` behind it; faults befall requests for answers, counted from 0."""
    platform = PLATFORMS[name]
    for variable in ("OPENAI_API_BASE", "ANTHROPIC_API_URL", "LANGSMITH_TRACING", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    numbers = iter(range(10**9))

    def of_answers(_: int, call: Call) -> Fault:
        return fault(next(numbers), call) if platform.asks(call) else None

    with Loopback(platform.respond(model), of_answers, delay) as server:
        monkeypatch.setenv("HOME", str(folder))
        for variable, value in platform.environment(server.url, folder).items():
            monkeypatch.setenv(variable, value)
        yield server
