"""Who reads a model: transformers, and llama.cpp, which shares no code with it."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from importlib import metadata, util
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import InputError
from ..teachers.embedded import read_once
from ..transfer.chat import prompt_ids

LIKELIEST = 256  # next tokens that llama.cpp is asked for: the student's five are among them, or the model is another


class Reader(Protocol):
    """A model as some software understands it. ``name`` says which, with its version."""

    name: str

    def chat_template(self) -> str: ...

    def tokens(self, instruction: str, prompt: str) -> list[int]:
        """The ids of a conversation, phrased by the chat template, up to where the answer begins."""
        ...

    def logprobs(self, ids: list[int]) -> dict[int, float]:
        """The log-probability, in nats, of the token after ``ids``: of every token, or of the likeliest ones."""
        ...


class Transformers:
    """A model that transformers has loaded, in float32 on the processor."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase):
        self.name = f"transformers {metadata.version('transformers')}"
        self.model, self.tokenizer = model.eval(), tokenizer

    @classmethod
    def of(cls, path: Path) -> Transformers:
        """The model in ``path``, a folder or a GGUF file, whose weights transformers turns back into float32."""
        where: dict[str, Any] = {"pretrained_model_name_or_path": path, "local_files_only": True}
        if path.is_file():
            where |= {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
        with read_once(lambda done: None):
            tokenizer = AutoTokenizer.from_pretrained(**where)
            model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
        return cls(model, tokenizer)

    def chat_template(self) -> str:
        return self.tokenizer.chat_template

    def tokens(self, instruction: str, prompt: str) -> list[int]:
        return prompt_ids(self.tokenizer, instruction, prompt)

    @torch.inference_mode()
    def logprobs(self, ids: list[int]) -> dict[int, float]:
        logits = self.model(input_ids=torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
        return dict(enumerate(torch.log_softmax(logits.float(), -1).tolist()))


def has_llama_cpp() -> bool:
    """Whether the package that brings llama.cpp is installed."""
    return util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """A GGUF file in llama.cpp, whose server runs inside this process (package xllamacpp) and is asked over HTTP.

    There is room for ``longest`` tokens. Keys and values are kept in float32, so that what is measured is the file.
    Raises InputError when llama.cpp refuses it.
    """

    def __init__(self, path: Path, longest: int):
        import xllamacpp

        self.name = f"llama.cpp (xllamacpp {metadata.version('xllamacpp')})"
        params = xllamacpp.CommonParams()
        params.verbosity, params.warmup, params.n_parallel, params.n_ctx = -1, False, 1, longest + 1
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.cpuparams.poll = 0  # threads that spin while they wait take the processor from each other
        params.model.path = str(path)
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise InputError(f"{path}: llama.cpp does not load it ({error})") from error
        self._address = self._server.listening_address.rpartition("/")[2]

    def chat_template(self) -> str:
        return self.ask("GET", "/props")["chat_template"]

    def tokens(self, instruction: str, prompt: str) -> list[int]:
        system = [{"role": "system", "content": instruction}] if instruction else []
        messages = [*system, {"role": "user", "content": prompt}]
        text = self.ask("POST", "/apply-template", {"messages": messages})["prompt"]
        return self.ask("POST", "/tokenize", {"content": text, "add_special": True, "parse_special": True})["tokens"]

    def logprobs(self, ids: list[int]) -> dict[int, float]:
        return {top["id"]: top["logprob"] for top in self.likeliest(ids)}

    def likeliest(self, ids: list[int]) -> list[dict[str, Any]]:
        """The likeliest tokens after ``ids``, each with id, token (its text) and logprob, as the model has them.

        The server tells them only with a token that it can write: not with one that ends the answer, nor with a part of
        a character. So a letter is forced upon it, which comes after the log-probabilities are read.
        """
        letter = self.ask("POST", "/tokenize", {"content": "a"})["tokens"][-1]
        asked = {"prompt": ids, "n_predict": 1, "n_probs": LIKELIEST, "logit_bias": [[letter, 1e6]]}
        return self.ask("POST", "/completion", asked)["completion_probabilities"][0]["top_logprobs"]

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection = HTTPConnection(self._address, timeout=600)
        try:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            said = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise InputError(f"llama.cpp: {path} answers {response.status}: {said.get('error', said)}")
        return said
