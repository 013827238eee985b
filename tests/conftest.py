"""What tests of several files share: a tiny model to train, the built site, servers of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import browsing
import pytest
from filelock import FileLock
from loopback import Loopback

if TYPE_CHECKING:
    from playwright.sync_api import Browser

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several that share the processors; read when torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The folder of a Llama of four layers, trained for seconds: it writes lines like summaries, mostly wrong ones."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from implementations.tasks.clinical_summary import ClinicalSummary
    from implementations.tasks.task import Sizes
    from implementations.transfer.chat import row
    from implementations.transfer.config import TrainConfig
    from implementations.transfer.trainer import train

    notes = ClinicalSummary().splits(Sizes(0, 0, 300, 0, 0), seed=0).transfer
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|im_end|>", "<|im_start|>", "<|pad|>"]
    raw.train_from_iterator(
        [f"{note.prompt} {note.reference}" for note in notes],
        trainers.BpeTrainer(
            vocab_size=900, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>", chat_template=CHAT_TEMPLATE
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    folder = tmp_path_factory.mktemp("tiny")
    rows = [row(tokenizer, ClinicalSummary.instruction, note.prompt, note.reference) for note in notes]
    train(model, tokenizer, rows, TrainConfig(steps=60, learning_rate=5e-3), folder)
    return folder / "model"


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real site, built strictly: once for all the processes that share the tests, as no test changes it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    site = shared / "site"
    with FileLock(shared / "site.lock"):
        if not site.exists():
            out = tmp_path_factory.mktemp("building")
            command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
            done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            out.rename(site)
    return site


@pytest.fixture(scope="module")  # no longer: its event loop is in the way of asyncio.run
def browser() -> Iterator[Browser]:
    with browsing.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def http(real: Path) -> Iterator[str]:
    """The address of the site on a server of this machine."""
    with browsing.served(real) as address:
        yield address


@pytest.fixture(params=["http", "disk"])
def address(request: pytest.FixtureRequest, real: Path) -> str:
    """The address of the site, on a server and then from disk."""
    return request.getfixturevalue("http") if request.param == "http" else f"{real.as_uri()}/"


@pytest.fixture
def opened(browser: Browser) -> Iterator[browsing.Open]:
    with browsing.windows(browser) as open_:
        yield open_


@pytest.fixture
def start() -> Iterator[Callable[..., Loopback]]:
    """Opens a Loopback, by its own arguments, that closes when the test ends."""
    with ExitStack() as servers:
        yield lambda *arguments: servers.enter_context(Loopback(*arguments))


@pytest.fixture(autouse=True)
def threads(request) -> Iterator[None]:
    """One in the tests of mechanisms: models that small train slower where threads wait for each other."""
    if not request.module.__name__.startswith("test_mechanism_"):
        yield
        return
    import torch

    many = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(many)
