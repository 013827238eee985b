"""Models on Amazon Bedrock as teachers, through boto3 and a server of the tests' own."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from loopback import Break, Loopback, Reply, Written, answers, echo, with_teacher
from platforms import PLATFORMS
from protocols import bedrock as protocol

from implementations.errors import InputError
from implementations.teachers.bedrock import BedrockTeacher, open_teacher
from implementations.teachers.collect import Collector
from implementations.teachers.ledger import Ledger, Outcome
from implementations.teachers.spending import Spending
from implementations.teachers.teacher import BatchTeacher, Busy, Dropped, Kind, Rejected, RemoteTeacher, Request

MODEL = "mistral.small-v1:0"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY01"
REQUEST = Request("say it loudly", "a b c", 8)
SCHEMA = '{"type": "object", "properties": {"label": {"enum": ["yes", "no"]}}, "required": ["label"]}'


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Credentials of one kind, and no search for others in files or on the network."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "BEDROCK_BATCH_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def serve(start, monkeypatch):
    """Starts a server that speaks Bedrock's protocol, and points the environment there."""

    def serve(model=echo, fault=lambda n, call: None) -> Loopback:
        server = start(protocol.respond(model), fault)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        return server

    return serve


def ask(request=REQUEST, model=MODEL, **options):
    """One answer from a teacher that is closed afterwards."""
    [answer] = ask_again(1, request, model, **options)
    return answer


def ask_again(times, request=REQUEST, model=MODEL, **options):
    """Answers to one request, asked again and again."""
    return answers(BedrockTeacher(model, threads=4, **options), request, times)


def test_an_answer_with_its_usage(serve):
    server = serve()
    answer = ask()
    assert (answer.text, answer.kind, answer.reason) == ("A B C", Kind.COMPLETE, "")
    assert (answer.prompt_tokens, answer.completion_tokens) == (6, 3)
    [call] = server.calls
    assert (call.method, protocol.model_id(call)) == ("POST", MODEL)
    assert call.json == {
        "messages": [{"role": "user", "content": [{"text": "a b c"}]}],
        "system": [{"text": "say it loudly"}],
        "inferenceConfig": {"maxTokens": 8, "temperature": 0.0},
    }
    assert "/eu-west-1/bedrock/" in call.headers["authorization"]


def test_it_is_a_remote_teacher(serve, monkeypatch):
    serve()
    teacher = open_teacher(MODEL)
    assert isinstance(teacher, RemoteTeacher)
    assert (teacher.name, teacher.platform, teacher.model) == (f"bedrock:{MODEL}", "bedrock", MODEL)
    assert teacher.identity.startswith(f"bedrock:{MODEL}@127.0.0.1:")
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "https://bedrock-runtime.us-east-1.amazonaws.com")
    assert BedrockTeacher(MODEL).identity == f"bedrock:{MODEL}"


def test_kinds(serve):
    nothing = Written("", 4, 0, False, [])
    bodies = [
        (protocol.answer(echo("", "a b c", 2)), Kind.TRUNCATED, ""),
        (protocol.answer(nothing), Kind.EMPTY, ""),
        (protocol.answer(Written("I cannot.", 4, 2, False, []), "guardrail_intervened"), Kind.REFUSED, "guardrail_"),
        (protocol.answer(nothing, "content_filtered"), Kind.REFUSED, "content_filtered"),
        (protocol.answer(echo("", "a b", 9), "malformed_model_output"), Kind.MALFORMED, ""),
        (protocol.answer(echo("", "a b", 9), "tool_use"), Kind.FAILED, "generation stopped for a reason unknown"),
    ]
    server = serve(fault=lambda n, call: Reply(bodies[n][0]))
    for answer, (_, kind, reason) in zip(ask_again(len(bodies)), bodies, strict=True):
        assert answer.kind == kind and answer.reason.startswith(reason)
    assert len(server.calls) == len(bodies)


def test_thoughts_are_left_out_and_the_cache_is_counted(serve):
    counts = {"cacheReadInputTokens": 100, "cacheWriteInputTokens": 20}
    bodies = [
        protocol.answer(echo("", "a b", 9), thought="Let me see.", **counts),
        protocol.answer(Written("", 4, 8, True, []), thought="Let me"),
    ]
    serve(fault=lambda n, call: Reply(bodies[n]))
    answer, empty = ask_again(2)
    assert (answer.text, answer.prompt_tokens) == ("A B", 122)
    assert (answer.cache_read_tokens, answer.cache_write_tokens) == (100, 20)
    assert (empty.kind, empty.completion_tokens) == (Kind.EMPTY, 8)
    assert empty.reason.startswith("the token limit was spent before any text")


def test_claude_thinks_least_and_reads_the_instruction_from_the_cache(serve):
    server = serve()
    ask(model=CLAUDE)
    body = server.calls[0].json
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}
    assert body["system"] == [{"text": "say it loudly"}, {"cachePoint": {"type": "default"}}]


def test_a_schema_is_enforced_where_the_model_allows_it(serve):
    asked = Request("label", "x", 20, schema=SCHEMA)
    for text, kind in (('{"label": "yes"}', Kind.COMPLETE), ("yes", Kind.MALFORMED)):
        server = serve(lambda *_, text=text: Written(text, 4, 3, False, []))
        assert ask(asked).kind == kind
    body = server.calls[0].json
    form = {"type": "json_schema", "structure": {"jsonSchema": {"name": "answer", "schema": SCHEMA}}}
    assert body["outputConfig"] == {"textFormat": form} and body["system"] == [{"text": "label"}]


def test_what_a_model_refuses_is_left_out_from_then_on(serve):
    """Each refusal in the words of a real one."""

    def refuse(n, call):
        body = call.json
        if "temperature" in body["inferenceConfig"]:
            message = "The model returned the following errors: `temperature` is deprecated for this model."
        elif "additionalModelRequestFields" in body:
            message = "The model returned the following errors: thinking.type.disabled is not supported on this model"
        elif "effort" in body.get("outputConfig", {}):
            message = "The model returned the following errors: output_config.effort: Extra inputs are not permitted"
        elif "outputConfig" in body:
            message = "Malformed input request: #: extraneous key [outputConfig] is not permitted"
        elif len(body["system"]) > 1:
            message = "You invoked an unsupported model or your request did not allow prompt caching."
            return protocol.error(403, "AccessDeniedException", message)
        else:
            return None
        return protocol.error(400, "ValidationException", message)

    server = serve(lambda *_: Written('{"label": "no"}', 4, 3, False, []), refuse)
    asked = Request("label", "x", 20, schema=SCHEMA)

    async def twice():
        teacher = open_teacher(CLAUDE)
        first = await teacher.ask(asked)
        refusals = len(server.calls) - 1
        second = await teacher.ask(Request("label", "y", 20, schema=SCHEMA))
        await teacher.close()
        return first, refusals, second

    first, refusals, second = asyncio.run(twice())
    assert first.kind == second.kind == Kind.COMPLETE
    assert (refusals, len(server.calls)) == (6, 8)
    body = server.calls[-1].json
    assert set(body) == {"messages", "system", "inferenceConfig"} and body["inferenceConfig"] == {"maxTokens": 20}
    [system] = body["system"]
    assert system["text"].startswith("label") and system["text"].endswith(json.dumps(json.loads(SCHEMA)))


def test_no_log_probabilities(serve):
    server = serve()
    with pytest.raises(InputError, match=rf"^bedrock:{MODEL}: Bedrock returns no log-probabilities"):
        ask(Request("say", "a b", 8, top_logprobs=1))
    assert not server.calls


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "ThrottlingException"),
        (400, "ServiceQuotaExceededException"),
        (429, "ModelNotReadyException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_busy(serve, status, code):
    server = serve(fault=lambda n, call: protocol.error(status, code, "Too many requests", {"retry-after": "7"}))
    with pytest.raises(Busy, match="Too many requests") as caught:
        ask()
    assert caught.value.retry_after == 7
    assert len(server.calls) == 1  # the SDK does not retry


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        (protocol.error(500, "InternalServerException", "Internal error"), False),
        (protocol.error(408, "ModelTimeoutException", "The model took too long"), False),
        (protocol.error(424, "ModelErrorException", "The model failed"), False),
        (Reply(b"<html>Bad gateway</html>", 502), False),
        (Break.RESET, True),
        (Break.GARBAGE, True),
        (Reply({"hello": "world"}), True),
        (Reply(b"<html>welcome</html>"), True),
    ],
)
def test_dropped(serve, fault, billed):
    server = serve(fault=lambda n, call: fault)
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is billed
    assert len(server.calls) == 1


@pytest.mark.parametrize("fault", [Break.DRIP, Break.SILENCE])
def test_an_answer_that_takes_too_long(serve, fault):
    serve(fault=lambda n, call: fault)
    started = time.monotonic()
    with pytest.raises(Dropped, match="Timeout"):
        ask(timeout=0.5)
    assert time.monotonic() - started < 10  # the whole body would take half a minute


def test_no_server_there(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://127.0.0.1:9")
    with pytest.raises(Dropped) as caught:
        ask()
    assert caught.value.billed is False


def test_rejected_without_repeating_the_request(serve):
    serve(fault=lambda n, call: protocol.error(400, "ValidationException", "Input is too long for requested model."))
    with pytest.raises(Rejected, match=r"^HTTP 400: Input is too long for requested model\.$"):
        ask()
    echoing = Request("say", "the patient of 1953 has pneumonia", 8)
    serve(fault=lambda n, call: protocol.error(400, "ValidationException", f"Bad value: {echoing.prompt}"))
    with pytest.raises(Rejected, match=r"^HTTP 400: ValidationException$"):
        ask(echoing)


@pytest.mark.parametrize(
    ("status", "code", "text", "message"),
    [
        (403, "AccessDeniedException", "no", r"access denied \(HTTP 403\); allow the identity bedrock:InvokeModel"),
        (403, "UnrecognizedClientException", "no", r"AWS refused the credentials .*aws configure"),
        (403, "ExpiredTokenException", "no", r"AWS refused the credentials \(HTTP 403, ExpiredTokenException\)"),
        (404, "ResourceNotFoundException", "no", r"no such model in eu-west-1 .*check its id and AWS_REGION"),
        (400, "ValidationException", "The provided model identifier is invalid.", "no such model in eu-west-1"),
        (
            400,
            "ValidationException",
            "Invocation of model ID x with on-demand throughput isn’t supported.",
            rf"inference profile, such as bedrock:us\.{MODEL}",
        ),
        (429, "ThrottlingException", "Too many tokens per day, please wait.", "run the same command tomorrow"),
    ],
)
def test_what_no_other_request_mends(serve, status, code, text, message):
    server = serve(fault=lambda n, call: protocol.error(status, code, f"{text} {SECRET}"))
    with pytest.raises(InputError, match=message) as caught:
        ask()
    assert str(caught.value).startswith(f"bedrock:{MODEL}: ") and SECRET not in str(caught.value)
    assert len(server.calls) == 1


def test_the_secret_is_in_no_reason(serve):
    for status, code in ((400, "ValidationException"), (429, "ThrottlingException"), (500, "InternalServerException")):
        reply = protocol.error(status, code, f"bad secret {SECRET}")
        serve(fault=lambda n, call, reply=reply: reply)
        with pytest.raises((Busy, Dropped, Rejected)) as caught:
            ask()
        assert str(caught.value) == f"HTTP {status}: bad secret …" and caught.value.__cause__ is None


def test_no_credentials(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(InputError, match=r"bedrock: no AWS credentials; run: aws configure.* or choose another --teac"):
        open_teacher(MODEL)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", SECRET)
    open_teacher(MODEL)
    # boto3 sends such a key over https alone.
    with pytest.raises(InputError, match="boto3 cannot ask") as caught:
        ask()
    assert SECRET not in str(caught.value) and not server.calls


def test_half_a_key_and_an_unknown_profile(serve, monkeypatch):
    server = serve()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(InputError, match=r"boto3 cannot start \(PartialCredentialsError\); run: aws configure"):
        open_teacher(MODEL)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(InputError, match=r"bedrock: boto3 cannot start \(ProfileNotFound\)"):
        open_teacher(MODEL)
    assert not server.calls


def test_no_region(monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(InputError, match="bedrock: no region; set AWS_REGION"):
        open_teacher(MODEL)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert open_teacher(MODEL).client.meta.region_name == "us-west-2"


def test_a_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match=r"bedrock needs the package boto3; run: pip install -e '.\[bedrock\]'"):
        open_teacher(MODEL)


def test_many_at_once_and_again_after_closing(serve):
    all_there = threading.Barrier(32)

    def meet(n, call):
        all_there.wait(60)

    server = serve(fault=meet)
    teacher = open_teacher(MODEL)

    async def many():
        answers = await asyncio.gather(*(teacher.ask(Request("say", f"word {i}", 8)) for i in range(32)))
        await teacher.close()
        return [answer.text for answer in answers]

    for _ in range(2):
        assert asyncio.run(many()) == [f"WORD {i}" for i in range(32)]
    assert len(server.calls) == 64


def test_tokens_are_counted_by_the_platform_or_estimated(serve):
    replies = [
        None,
        protocol.error(400, "ValidationException", "The provided model doesn't support counting tokens."),
        protocol.error(429, "ThrottlingException", "slow down"),
    ]
    server = serve(fault=lambda n, call: replies[n])

    async def count():
        teacher = open_teacher(CLAUDE)
        try:
            return await teacher.count_tokens(Request("x" * 40, "y" * 40, 8))
        finally:
            await teacher.close()

    assert asyncio.run(count()) == 2
    assert 15 <= asyncio.run(count()) <= 30
    with pytest.raises(Busy):
        asyncio.run(count())
    assert all(call.path.endswith("/count-tokens") for call in server.calls)


# ------------------------------------------------------------------------------------------------- jobs

LATE = datetime.now(UTC) - timedelta(minutes=10)


@pytest.fixture
def serve_jobs(start, monkeypatch, tmp_path):
    """Starts Bedrock with S3 beside it, and sets everything that jobs need."""

    def serve(fault=lambda n, call: None, model=echo, **how) -> Loopback:
        server = start(protocol.respond(model, **how), fault)
        for variable, value in PLATFORMS["bedrock"].environment(server.url, tmp_path).items():
            monkeypatch.setenv(variable, value)
        return server

    return serve


def questions(number: int, instruction: str = "say it loudly") -> dict[str, Request]:
    """Requests by keys as long as a ledger's."""
    return {f"{i:064x}": Request(instruction, f"prompt number {i}", 8) for i in range(number)}


def run(act, model=MODEL):
    """What ``act(teacher)`` comes to."""
    return with_teacher(BedrockTeacher(model, threads=4), act)


def job_of(requests, model=MODEL):
    """The results of a job of ``requests``, by key."""

    async def act(teacher):
        job = await teacher.submit(requests)
        while not (await teacher.progress(job))[1]:
            pass
        return {key: result async for key, result in teacher.results(job)}

    return run(act, model)


def rows_of(files, nth=0):
    """What the n-th job that was submitted asks."""
    [*names] = [name for name in files if name.endswith("/requests.jsonl")]
    return [json.loads(line) for line in files[names[nth]].splitlines()]


def collect(path, requests, say=lambda text: None, **spending):
    with (
        Ledger(path / "ledger.sqlite") as ledger,
        Collector(ledger, Spending(8, batch=True, **spending), say) as collector,
    ):
        return collector.collect(BedrockTeacher(MODEL), list(requests.values()))


def test_a_job_from_start_to_end(serve_jobs):
    files = {}
    server = serve_jobs(files=files, polls=1)
    requests = questions(100)

    async def act(teacher):
        assert isinstance(teacher, BatchTeacher) and not teacher.why_no_jobs
        job = await teacher.submit(requests)
        progress = [await teacher.progress(job) for _ in range(2)]
        return job, progress, {key: result async for key, result in teacher.results(job)}

    job, progress, results = run(act)
    assert progress == [(0, False), (100, True)]
    assert {key: answer.text for key, answer in results.items()} == {k: r.prompt.upper() for k, r in requests.items()}
    answer = results[f"{7:064x}"]
    assert (answer.kind, answer.prompt_tokens, answer.completion_tokens) == (Kind.COMPLETE, 6, 3)
    [made] = [call.json for call in server.calls if call.path == "/model-invocation-job"]
    name = made["jobName"]
    assert made.pop("clientRequestToken") and name.startswith("distill-") and "-100-" in name and len(name) <= 63
    assert made == {
        "jobName": name,
        "roleArn": "arn:aws:iam::123456789012:role/batch",
        "modelId": MODEL,
        "modelInvocationType": "Converse",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://files/distill/{name}/requests.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://files/distill/{name}/answers/"}},
    }
    assert rows_of(files)[7] == {
        "recordId": f"{7:064x}",
        "modelInput": {
            "messages": [{"role": "user", "content": [{"text": "prompt number 7"}]}],
            "system": [{"text": "say it loudly"}],
            "inferenceConfig": {"maxTokens": 8, "temperature": 0.0},
        },
    }
    folder = f"files/distill/{name}/answers/{job.rpartition('/')[2]}"
    assert {f"{folder}/requests.jsonl.out", f"{folder}/manifest.json.out"} < set(files)


def test_a_row_has_no_cached_instruction_and_a_worded_schema(serve_jobs):
    files = {}
    serve_jobs(files=files)
    asked = {key: Request("label", request.prompt, 20, SCHEMA) for key, request in questions(100).items()}
    job_of(asked, CLAUDE)
    body = rows_of(files)[0]["modelInput"]
    [system] = body["system"]
    assert system["text"].startswith("label") and system["text"].endswith(SCHEMA) and "outputConfig" not in body
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}


def test_lines_are_lines_whatever_the_answers_hold(serve_jobs):
    serve_jobs(model=lambda *_: Written("one\x85two\u2028three\nfour", 4, 3, False, []))
    assert {answer.text for answer in job_of(questions(1200)).values()} == {"one\x85two\u2028three\nfour"}


def test_what_becomes_of_the_rows_of_a_job(serve_jobs):
    """A row that will never be answered, some that may, and one that there is no word of."""
    kinds = ("succeeded", "errored:400", "errored:500", "errored:429", "missing")
    serve_jobs(outcome=lambda row, prompt: kinds[row % 5])
    results = list(job_of(questions(100)).items())
    assert len(results) == 80
    for key, result in results:
        row = int(key, 16) % 5
        assert type(result).__name__ == ("Answer", "Rejected", "Dropped", "Dropped")[row]
        assert row == 0 or str(result) == f"HTTP {(400, 500, 429)[row - 1]}: no"
        assert row < 2 or result.billed is False


def test_a_reason_does_not_repeat_the_request(serve_jobs):
    serve_jobs(outcome=lambda *_: "errored:400", takes=lambda body: f"Bad value: {json.dumps(body['messages'])}")
    assert {str(result) for result in job_of(questions(100)).values()} == {"HTTP 400"}


def test_a_row_that_is_refused_by_name_is_asked_again_without(serve_jobs):
    def takes(body):
        named = "temperature" in body["inferenceConfig"]
        return "`temperature` is deprecated for this model." if named else ""

    files = {}
    serve_jobs(takes=takes, files=files)

    async def twice(teacher):
        results = []
        for _ in range(2):
            job = await teacher.submit(questions(100))
            await teacher.progress(job)
            results.append([result async for _, result in teacher.results(job)])
        return results

    first, second = run(twice)
    assert {type(result) for result in first} == {Dropped} and not any(result.billed for result in first)
    assert {result.kind for result in second} == {Kind.COMPLETE}
    assert "temperature" in str(rows_of(files)) and "temperature" not in str(rows_of(files, 1))


def test_one_request_goes_alone_and_teaches_what_to_leave_out(serve_jobs, tmp_path):
    def takes(body):
        return "`temperature` is deprecated for this model." if "temperature" in body["inferenceConfig"] else ""

    files = {}
    server = serve_jobs(takes=takes, files=files)
    got = collect(tmp_path, questions(150))
    assert got.outcomes == {Outcome.ANSWERED: 150} and "temperature" not in str(rows_of(files))
    assert len(rows_of(files)) == 149
    assert sum(call.path.endswith("/converse") for call in server.calls) == 2


def test_what_is_too_little_for_a_job_is_asked_one_by_one(serve_jobs, tmp_path):
    said = []
    server = serve_jobs(outcome=lambda row, prompt: "errored:500" if row < 20 else "succeeded")
    assert not collect(tmp_path, questions(40), said.append).why_pending
    assert said == [f"40 requests are asked one by one: bedrock:{MODEL} takes no job of fewer than 100"]
    got = collect(tmp_path, questions(190), said.append)
    assert not got.why_pending and len(said) == 1 and server.paths["POST /model-invocation-job"] == 1
    assert sum(call.path.endswith("/converse") for call in server.calls) == 40 + 1 + 20
    with pytest.raises(InputError, match="99 requests are fewer than the 100 that a job must have; leave --batch out"):
        run(lambda teacher: teacher.submit(questions(99)))


def test_a_job_that_fails_says_why(serve_jobs, tmp_path):
    server = serve_jobs(ends="Failed", why="The role cannot read the bucket.")
    got = collect(tmp_path, questions(150))
    assert "149 of 150 prompts have no answer" in got.why_pending
    assert "(149 for: the job is Failed: The role cannot read the bucket.)" in got.why_pending
    assert server.paths["POST /model-invocation-job"] == 2


def test_a_job_that_ends_early_gives_what_it_has(serve_jobs):
    for ends in ("Expired", "PartiallyCompleted"):
        serve_jobs(outcome=lambda row, prompt: "succeeded" if row < 30 else "missing", ends=ends)
        results = job_of(questions(100))
        assert sum(isinstance(result, Dropped) for result in results.values()) == 70 and len(results) == 100
        assert str(results[f"{50:064x}"]) == f"the job is {ends}: no reason given"


def test_a_job_is_found_by_its_requests_and_time(serve_jobs):
    """Not by their number alone: another user may have as many."""
    serve_jobs()
    mine, more = questions(100), questions(101)
    theirs = {request.key("theirs"): request for request in mine.values()}

    async def submit(teacher):
        return [await teacher.submit(some) for some in (mine, more, mine, theirs, mine)]

    jobs = run(submit)
    assert run(lambda teacher: teacher.find(LATE, list(mine)[::-1])) == [jobs[4], jobs[2], jobs[0]]
    assert run(lambda teacher: teacher.find(LATE, more)) == [jobs[1]]
    assert run(lambda teacher: teacher.find(LATE, theirs)) == [jobs[3]]
    assert run(lambda teacher: teacher.find(datetime.now(UTC), mine)) == []


def test_a_job_is_stopped(serve_jobs):
    server = serve_jobs(polls=9)

    async def act(teacher):
        job = await teacher.submit(questions(100))
        await teacher.cancel(job)
        return await teacher.progress(job), [result async for _, result in teacher.results(job)]

    progress, results = run(act)
    assert progress == (0, True) and {str(result) for result in results} == {"the job is Stopped: no reason given"}
    assert any(call.path.endswith("/stop") for call in server.calls)


def test_without_a_bucket_or_a_role_requests_go_one_by_one(serve_jobs, monkeypatch):
    serve_jobs()
    for variable in ("BEDROCK_BATCH_BUCKET", "BEDROCK_BATCH_ROLE_ARN"):
        with monkeypatch.context() as without:
            without.delenv(variable)
            teacher = open_teacher(MODEL)
            assert not Spending().in_jobs(teacher, 5000) and isinstance(teacher, BatchTeacher)
            message = rf"^--batch: bedrock:{MODEL}: .*; set BEDROCK_BATCH_BUCKET and BEDROCK_BATCH_ROLE_ARN \(https"
            with pytest.raises(InputError, match=message):
                Spending(batch=True).check(teacher)
            with pytest.raises(InputError, match="set BEDROCK_BATCH_BUCKET"):
                run(lambda teacher: teacher.submit(questions(100)))
    Spending(batch=True).check(teacher)
    assert Spending().in_jobs(teacher, 1000) and not Spending().in_jobs(teacher, 999)


S3_DENIED = Reply(b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 403)


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (S3_DENIED, InputError, r"access denied \(HTTP 403\); allow the identity s3:PutObject, .*BEDROCK_BATCH_BUCKET"),
        (protocol.error(403, "AccessDeniedException", "no"), InputError, r"iam:PassRole on BEDROCK_BATCH_ROLE_ARN"),
        (protocol.error(403, "ExpiredTokenException", "no"), InputError, "AWS refused the credentials"),
        (protocol.error(400, "ValidationException", "no batch for it"), Rejected, "HTTP 400: no batch for it"),
        (protocol.error(429, "ThrottlingException", "slow down"), Busy, "slow down"),
        (protocol.error(500, "InternalServerException", "oh"), Dropped, "HTTP 500: oh"),
        (Break.RESET, Dropped, "no usable answer"),
        (Break.GARBAGE, Dropped, "no usable answer"),
    ],
)
def test_what_goes_wrong_about_a_job(serve_jobs, reply, kind, message):
    path = "/files" if reply is S3_DENIED else "/model-invocation-job"
    serve_jobs(lambda n, call: reply if call.path.startswith(path) else None)
    with pytest.raises(kind, match=message) as caught:
        run(lambda teacher: teacher.submit(questions(100)))
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_no_such_bucket_and_no_such_job(serve_jobs, monkeypatch):
    serve_jobs()
    with pytest.raises(Rejected, match="HTTP 404: Could not find the job"):
        run(
            lambda teacher: teacher.progress("arn:aws:bedrock:eu-west-1:123456789012:model-invocation-job/000000000009")
        )
    monkeypatch.setenv("BEDROCK_BATCH_BUCKET", "nowhere")
    with pytest.raises(InputError, match=r"no such bucket \(HTTP 404\); check BEDROCK_BATCH_BUCKET"):
        run(lambda teacher: teacher.submit(questions(100)))
