"""A student as a model of an Ollama server, made through its API from the GGUF file.

Ollama phrases prompts by a template of its own kind (Go's text/template), not by the one in the file. It is derived
here from how the student's chat template writes each role, and sent with the system instruction and the stop tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jinja2 import TemplateError

from ..errors import InputError
from ..progress import Stages
from ..teachers.ollama import address, asking
from ..transfer.chat import prompt_ids
from ..transfer.generate import stop_ids
from . import Precision, Target, gguf
from .files import Exported, write_report
from .student import Student
from .verify import Agreement, Expected, Moved, Step, agree, check_template

if TYPE_CHECKING:
    from ollama import Client

TIMEOUT = 600.0  # seconds without a word
TOP_LOGPROBS = 20  # the server's own limit


@dataclass(frozen=True)
class Phrasing:
    """What stands before and after each role's text, and before an answer that is to be written."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    answer: str
    default_system: str  # the instruction that the chat template gives where there is none

    def render(self, instruction: str, prompt: str) -> str:
        system = instruction or self.default_system
        return "".join([*(self._around("system", system) * bool(system)), *self._around("user", prompt), self.answer])

    def _around(self, role: str, text: str) -> tuple[str, str, str]:
        before, after = getattr(self, role)
        return before, text, after

    def template(self) -> str:
        """The same in Go's text/template, for any conversation."""
        roles = []
        for role, condition in (("system", "if"), ("user", "else if"), ("assistant", "else if")):
            before, after = getattr(self, role)
            roles.append(f'{{{{ {condition} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}')
        return f"{{{{ range .Messages }}}}{''.join(roles)}{{{{ end }}}}{{{{ end }}}}{self.answer}"


def export(student: Student, expected: Expected, name: str, precision: Precision, stages: Stages) -> Exported:
    """Make the model ``name`` on the server at OLLAMA_HOST from ``student``. Raises Moved and InputError."""
    gguf.check(student)
    phrasing = phrase(student)
    with asking(TIMEOUT) as client:
        there = {(found.model or "").removesuffix(":latest") for found in client.list().models}
    if name.removesuffix(":latest") in there:
        raise InputError(f"--model {name}: is there already at {address()}; run: ollama rm {name}, or give another")
    path = student.run / "export" / f"{student.name}-{precision}.gguf"
    made = gguf.export(student, expected, path, precision, stages)
    with asking(TIMEOUT) as client:
        with stages.stage(f"Send it to {address()}", None):
            digest = client.create_blob(path)
            client.create(
                name,
                files={path.name: digest},
                template=phrasing.template(),
                system=student.instruction or phrasing.default_system,
                parameters={"temperature": 0, "stop": stop_tokens(student)},
            )
        try:
            with stages.stage("Ask Ollama", None):
                agreement = compare(client, name, student, phrasing, expected, precision)
        except BaseException:
            client.delete(name)
            raise
    agreements = [*made.agreements, agreement]
    report = path.with_suffix(".ollama.json")
    write_report(report, student, Target.OLLAMA, precision, [path], agreements)
    return Exported(name, report, agreements)


def compare(
    client: Client, name: str, student: Student, phrasing: Phrasing, expected: Expected, precision: Precision
) -> Agreement:
    """Ask the server for the first token of answers to held-out prompts. Raises Moved and InputError.

    It counts a prompt's tokens and does not name them, and it writes likely tokens as text.
    """
    reader = f"Ollama at {address()}"
    check_template(phrasing.template(), client.show(name).template, reader)
    found, likeliest = [], []
    starts = {tuple(ids): top for ids, top in zip(expected.contexts, expected.likeliest, strict=True)}
    for probe, ids in zip(student.probes, expected.prompts, strict=False):
        if tuple(ids) not in starts:
            break
        answer = client.chat(
            name,
            [{"role": "user", "content": probe.prompt}],
            options={"num_predict": 1, "temperature": 0},
            logprobs=True,
            top_logprobs=TOP_LOGPROBS,
        )
        if answer.prompt_eval_count != len(ids):
            what = f"a prompt has {len(ids)}, and there {answer.prompt_eval_count}"
            raise Moved(reader, Step.TOKENS, what, "please report it, with the version of the server")
        if not answer.logprobs:
            raise InputError(f"{reader}: returns no log-probabilities, so nothing can be verified; update the server")
        found.append({top.token: top.logprob for top in answer.logprobs[0].top_logprobs})
        likeliest.append({student.tokenizer.decode([token]): value for token, value in starts[tuple(ids)].items()})
    return agree(likeliest, found, reader, len(found), precision)


def phrase(student: Student) -> Phrasing:
    """How the student's chat template writes each role. Raises InputError where that depends on more than the role."""
    tokenizer = student.tokenizer

    def written(*roles: str, generate: bool = False) -> list[str]:
        """What stands between the texts of a conversation of ``roles``, and around them."""
        marks = [f"({number}-{role})" for number, role in enumerate(roles)]
        messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
        rest = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate)
        parts = []
        for mark in marks:
            part, _, rest = rest.partition(mark)
            parts.append(part)
        return [*parts, rest]

    try:
        before_system, *_, after_user = written("system", "user")
        *_, after_answer = written("system", "user", "assistant")
        _, system_to_user, to_answer, to_user, _ = written("system", "user", "assistant", "user")
        before_user = to_user.removeprefix(after_answer)
        after_system = system_to_user.removesuffix(before_user)
        answer = written("user", generate=True)[-1].removeprefix(after_user)
        default = written("user")[0].removesuffix(before_user)
        phrasing = Phrasing(
            (before_system, after_system),
            (before_user, after_user),
            (to_answer.removeprefix(after_user), after_answer),
            answer,
            default.removeprefix(before_system).removesuffix(after_system),
        )
    except TemplateError as error:
        raise InputError(
            f"{student.folder}: its chat template takes no system instruction ({error}); export --to gguf"
        ) from error
    texts = "".join([*phrasing.system, *phrasing.user, *phrasing.assistant, phrasing.answer])
    if "{{" in texts or not all(_says(phrasing, student, probe.prompt) for probe in student.probes):
        raise InputError(
            f"{student.folder}: its chat template writes more than each role's text, which Ollama's kind cannot be "
            "derived from; export --to gguf, and write a Modelfile"
        )
    return phrasing


def _says(phrasing: Phrasing, student: Student, prompt: str) -> bool:
    """Whether ``phrasing`` gives the tokens that the student's chat template gives."""
    text = phrasing.render(student.instruction, prompt)
    ids = student.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids == prompt_ids(student.tokenizer, student.instruction, prompt)


def stop_tokens(student: Student) -> list[str]:
    """The text of every token that ends an answer."""
    return [student.tokenizer.decode([token]) for token in sorted(stop_ids(student.model, student.tokenizer))]
