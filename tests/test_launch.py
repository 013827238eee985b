"""`distill launch`: a distillation that Bedrock does by itself, through boto3 and a server of the tests' own."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import time

import pytest
from commands import distill
from loopback import Break, Loopback, echo
from platforms import KEY, PLATFORMS
from protocols import bedrock as protocol

from implementations import registry
from implementations.compute import bedrock
from implementations.tasks.clinical_summary import ClinicalSummary

ROLE = "arn:aws:iam::123456789012:role/distil"
TEACHER = ("--teacher", "bedrock:amazon.nova-pro-v1:0")
COMMAND = ("launch", "sequence-level", "--on", "bedrock", *TEACHER)
COMMAND += ("--student", "amazon.nova-micro-v1:0", "--role", ROLE, "--output", "s3://files/distilled/")
CREATE = "POST /model-customization-jobs"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bedrock, "FIRST_POLL", 0.01)
    monkeypatch.setattr(bedrock, "LAST_POLL", 0.01)
    monkeypatch.setattr(bedrock, "wait_random_exponential", lambda **_: lambda state: 0.0)


@pytest.fixture
def serve(start, monkeypatch, tmp_path):
    """Starts Bedrock and S3, and points the environment there."""

    def serve(fault=lambda n, call: None, delay=0.0, **how) -> Loopback:
        server = start(protocol.respond(echo, **how), fault, delay)
        for variable, value in PLATFORMS["bedrock"].environment(server.url, tmp_path).items():
            monkeypatch.setenv(variable, value)
        return server

    return serve


@pytest.fixture
def own(tmp_path):
    """A file of the user's own prompts, every tenth with an expert's answer."""
    rows = [{"id": f"n{i}", "prompt": f"note {i}"} | ({"reference": "fine"} if i % 10 == 0 else {}) for i in range(120)]
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def requests(server: Loopback) -> list[dict]:
    """What was sent to make a job."""
    return [call.json for call in server.calls if f"{call.method} {call.path}" == CREATE]


def test_from_own_prompts_to_the_model(serve, own, monkeypatch, capsys):
    files = {}
    server = serve(files=files, polls=3)
    own_prompts = ("--prompts", own, "--instruction", "Summarize.", "--max-new-tokens", 99, "--allow-cloud")
    assert distill(monkeypatch, *COMMAND, *own_prompts) == 0
    [request] = requests(server)
    name = request["jobName"]
    assert re.fullmatch(r"distill-sequence-level-[0-9a-f]{12}", name)
    assert request == {
        "jobName": name,
        "customModelName": name,
        "clientRequestToken": name,
        "roleArn": ROLE,
        "baseModelIdentifier": "amazon.nova-micro-v1:0",
        "customizationType": "DISTILLATION",
        "customizationConfig": {
            "distillationConfig": {
                "teacherModelConfig": {
                    "teacherModelIdentifier": "amazon.nova-pro-v1:0",
                    "maxResponseLengthForInference": 99,
                }
            }
        },
        "trainingDataConfig": {"s3Uri": f"s3://files/distilled/{name}/prompts.jsonl"},
        "outputDataConfig": {"s3Uri": f"s3://files/distilled/{name}/output/"},
    }
    [(path, body)] = files.items()
    rows = [json.loads(line) for line in body.splitlines()]
    question = {"role": "user", "content": [{"text": "note 1"}]}
    system = {"schemaVersion": "bedrock-conversation-2024", "system": [{"text": "Summarize."}]}
    assert path == f"files/distilled/{name}/prompts.jsonl" and len(rows) == 120
    assert rows[1] == {**system, "messages": [question]}
    assert rows[10]["messages"][1] == {"role": "assistant", "content": [{"text": "fine"}]}
    printed = capsys.readouterr()
    assert "model    arn:aws:bedrock:eu-west-1:123456789012:custom-model/amazon.nova-micro-v1:0/" in printed.out
    assert "cost     not known" in printed.err and "terms" in printed.err and "in your prompts: nothing" in printed.err
    assert "InProgress: validation Completed, answers InProgress, training NotStarted" in printed.err
    assert "Completed: validation Completed, answers Completed, training Completed" in printed.err
    assert KEY not in printed.out + printed.err


def test_the_built_in_prompts_are_those_of_a_run(serve, monkeypatch):
    files = {}
    server = serve(files=files)
    assert distill(monkeypatch, *COMMAND) == 0
    rows = [json.loads(line) for line in next(iter(files.values())).splitlines()]
    assert [len(row["messages"]) for row in rows] == [2] * 48 + [1] * 240
    assert {row["system"][0]["text"] for row in rows} == {ClinicalSummary.instruction}
    config = requests(server)[0]["customizationConfig"]["distillationConfig"]["teacherModelConfig"]
    assert config["maxResponseLengthForInference"] == ClinicalSummary.max_new_tokens


def test_from_invocation_logs(serve, monkeypatch):
    files = {}
    server = serve(files=files)
    assert distill(monkeypatch, *COMMAND, "--logs", "s3://logs/AWSLogs") == 0
    [request] = requests(server)
    assert not files and request["trainingDataConfig"] == {
        "invocationLogsConfig": {"usePromptResponse": True, "invocationLogSource": {"s3Uri": "s3://logs/AWSLogs"}}
    }
    teacher = {"teacherModelIdentifier": "amazon.nova-pro-v1:0"}
    assert request["customizationConfig"] == {"distillationConfig": {"teacherModelConfig": teacher}}


def test_a_dry_run_prints_the_request_and_sends_nothing(serve, own, monkeypatch, capsys):
    server = serve()
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        assert distill(monkeypatch, *COMMAND, "--prompts", own, "--dry-run") == 0
    assert not server.calls
    printed = json.loads(capsys.readouterr().out)
    assert distill(monkeypatch, *COMMAND, "--prompts", own, "--allow-cloud") == 0
    assert requests(server) == [printed]


def test_own_prompts_stay_here_unless_allowed(serve, own, monkeypatch, capsys):
    server = serve()
    assert distill(monkeypatch, *COMMAND, "--prompts", own) == 2
    assert "your prompts would leave this machine" in capsys.readouterr().err
    assert not server.calls


@pytest.mark.parametrize("ends", ["Failed", "Stopped"])
def test_a_job_that_fails_says_why_and_the_same_command_starts_another(serve, monkeypatch, capsys, ends):
    server = serve(ends=ends, why="The role cannot read the bucket.")
    assert distill(monkeypatch, *COMMAND) == 2
    assert f"is {ends}: The role cannot read the bucket.; mend that, and the same command" in capsys.readouterr().err
    assert distill(monkeypatch, *COMMAND) == distill(monkeypatch, *COMMAND) == 2
    first, second, third = (request["jobName"] for request in requests(server))
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert f"is {ends}; this is another attempt" in capsys.readouterr().err
    tokens = {request["clientRequestToken"] for request in requests(server)}
    assert tokens == {request["customModelName"] for request in requests(server)} == {first, second, third}


def test_a_finished_job_is_found_and_another_command_is_another_job(serve, monkeypatch, capsys):
    server = serve()
    for _ in range(2):
        assert distill(monkeypatch, *COMMAND) == 0
    assert len(requests(server)) == 1 and "found    arn:" in capsys.readouterr().err
    assert distill(monkeypatch, *COMMAND, "--student", "amazon.nova-lite-v1:0") == 0
    assert len({request["jobName"] for request in requests(server)}) == 2


def test_killed_and_started_again_there_is_one_job(serve, own, tmp_path):
    """Killed while it uploads, while the job is made, and while it follows the job that the second one made."""
    files = {}
    server = serve(delay=0.05, polls=10**6, files=files)
    command = [sys.executable, "-m", "implementations.cli", *COMMAND, "--prompts", own, "--allow-cloud"]
    for calls in (2, 3, 3):
        before = len(server.calls)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=dict(os.environ)) as process:
            deadline = time.monotonic() + 300
            while len(server.calls) - before < calls:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
    assert len(server.respond.__self__.customizations) == 1 == len(files)


def test_an_answer_that_got_lost_does_not_make_two_jobs(serve, monkeypatch):
    broken = iter([Break.RESET, protocol.error(429, "ThrottlingException", "slow down")])
    server = serve(lambda n, call: next(broken, None) if f"{call.method} {call.path}" == CREATE else None)
    assert distill(monkeypatch, *COMMAND) == 0
    assert server.paths[CREATE] == 3 and len(server.respond.__self__.customizations) == 1


def test_interrupted_and_cancelled(serve, monkeypatch, capsys):
    server = serve(polls=10**6)
    assert distill(monkeypatch, *COMMAND, "--cancel") == 2
    assert "--cancel: no job distill-sequence-level-" in capsys.readouterr().err

    def interrupt(seconds):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(bedrock.time, "sleep", interrupt)
        assert distill(monkeypatch, *COMMAND) == 130
    assert "a job that was started goes on at the platform" in capsys.readouterr().err
    assert distill(monkeypatch, *COMMAND, "--cancel") == 0
    assert re.search(r"^arn:aws:bedrock:\S+ is Stopped$", capsys.readouterr().out, re.MULTILINE)
    assert len(requests(server)) == 1 and sum(call.path.endswith("/stop") for call in server.calls) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--on", "moon"), "--on moon: choose one of: accelerate, bedrock, vertex"),
        (("--on", "vertx"), "--on vertx: did you mean `vertex`?"),
        (("--teacher", "claude:claude-haiku-5-5"), "give a model of Bedrock's, bedrock:MODEL"),
        (("--role", "admin"), "--role: give the service role, arn:aws:iam::ACCOUNT:role/NAME"),
        (("--output", "/tmp"), "--output: give a folder in S3, s3://BUCKET/FOLDER"),
        (("--logs", "logs"), "--logs: give the logs' folder in S3, s3://BUCKET/FOLDER"),
        (("--logs", "s3://logs/a", "--prompts", "x.jsonl"), "--logs --prompts: Bedrock takes either"),
        (("--instruction", "x"), "--instruction goes with --prompts"),
    ],
)
def test_what_cannot_be_launched(serve, monkeypatch, capsys, options, message):
    server = serve()
    command = [word for word in COMMAND if "--teacher" not in options or word not in TEACHER]
    assert distill(monkeypatch, *command, *options) == 2
    assert message in capsys.readouterr().err and not server.calls


def test_a_pattern_that_needs_more_than_text(serve, monkeypatch, capsys):
    more = dataclasses.replace(registry.RECIPES["sequence-level"], needs=registry.Signal.LOGITS)
    monkeypatch.setitem(registry.RECIPES, "sequence-level", more)
    assert distill(monkeypatch, *COMMAND) == 2
    assert "sequence-level: Bedrock distils from its teacher's text alone" in capsys.readouterr().err


def test_too_few_prompts(serve, tmp_path, monkeypatch, capsys):
    server = serve()
    (path := tmp_path / "few.jsonl").write_text('{"id": "a", "prompt": "b"}\n')
    assert distill(monkeypatch, *COMMAND, "--prompts", path, "--allow-cloud") == 2
    assert "1 prompts; Bedrock distils from 100 to 15,000: give another --prompts" in capsys.readouterr().err
    assert not server.calls


@pytest.mark.parametrize(
    ("path", "reply", "message"),
    [
        ("/model-", protocol.error(403, "AccessDeniedException", "no"), "allow the identity s3:PutObject on --output"),
        ("/model-", protocol.error(400, "ValidationException", "no such pair"), "HTTP 400: no such pair; mend that"),
        ("/model-", protocol.error(429, "ThrottlingException", "slow down"), "HTTP 429: slow down; mend that or wait"),
        ("/nowhere", None, "no such bucket (HTTP 404); check --output"),
    ],
)
def test_what_aws_refuses(serve, monkeypatch, capsys, path, reply, message):
    serve(lambda n, call: reply if call.path.startswith(path) else None)
    output = ("--output", "s3://nowhere/x") if reply is None else ()
    assert distill(monkeypatch, *COMMAND, *output) == 2
    assert message in capsys.readouterr().err
