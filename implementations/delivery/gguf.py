"""A student as one GGUF file, as llama.cpp and what is built on it (Ollama, LM Studio) read it.

Models built like Llama, with a byte-level BPE vocabulary: that is what the recipes make. Names, the order of rows and
the metadata are those of llama.cpp's own convert_hf_to_gguf.py, which knows many more models: for those, export to
safetensors and give it that folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
from transformers import LlamaConfig, PreTrainedTokenizerBase

from ..errors import InputError
from ..progress import Stages
from . import Precision, Target
from .files import Exported, appearing, write_report
from .readers import LlamaCpp, Transformers, has_llama_cpp
from .student import Student
from .verify import Agreement, Expected, compare

OTHERWISE = "export --to safetensors and convert that folder with llama.cpp's convert_hf_to_gguf.py"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}
# How text is split before its pieces are merged, and llama.cpp's name for it. That name is all a file says of it, so
# one that is nearly right gives other tokens without a word.
PRE_TOKENIZERS = {"gpt-2": [BYTE_LEVEL], "smollm": [DIGITS, BYTE_LEVEL]}
FILE_TYPES = {
    Precision.F32: gguf.LlamaFileType.ALL_F32,
    Precision.F16: gguf.LlamaFileType.MOSTLY_F16,
    Precision.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    Precision.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}


def export(student: Student, expected: Expected, path: Path, precision: Precision, stages: Stages) -> Exported:
    """Write ``student`` to ``path``, which appears when it has been read again. Raises Moved and InputError."""
    check(student)
    with appearing(path) as part:
        with stages.stage(f"Write {path}", None):
            write(student, part, precision)
        agreements = verify(student, expected, part, precision, stages)
    report = path.with_suffix(".export.json")
    write_report(report, student, Target.GGUF, precision, [path], agreements)
    return Exported(str(path), report, agreements)


def verify(student: Student, expected: Expected, path: Path, precision: Precision, stages: Stages) -> list[Agreement]:
    """Read ``path`` with llama.cpp, where it is installed, and with transformers. Raises Moved and InputError.

    transformers knows few pre-tokenizers by name, so where there is llama.cpp, that one's tokens are those that count.
    """
    agreements = []
    if has_llama_cpp():
        with stages.stage("Read it again with llama.cpp", None):
            reader = LlamaCpp(path, max(map(len, expected.prompts + expected.contexts)))
            agreements.append(compare(expected, reader, student, precision))
    else:
        advice = "llama.cpp is not installed, so transformers alone reads the file; run: pip install -e '.[export]'"
        stages.console.print(advice, markup=False, soft_wrap=True)
    with stages.stage("Read it again with transformers", None):
        reader = Transformers.of(path)
        agreements.append(compare(expected, reader, student, precision, tokens=not agreements))
    return agreements


def check(student: Student) -> None:
    """Raises InputError for a student that this module cannot write down whole; says everything that is in the way."""
    config = student.model.config
    if not isinstance(config, LlamaConfig):
        raise InputError(f"{student.folder}: a {config.model_type} model, and only Llama's kind is known; {OTHERWISE}")
    rope = config.rope_parameters.get("rope_type", "default")
    problems = [f"rope scaling {rope!r} is not known"] if rope != "default" else []
    if config.hidden_act != "silu":
        problems.append(f"activation {config.hidden_act!r} is not llama.cpp's")
    try:
        pre_tokenizer(student.tokenizer)
    except InputError as error:
        problems.append(str(error))
    if problems:
        raise InputError(f"{student.folder}: {'; '.join(problems)}; {OTHERWISE}")


def pre_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """llama.cpp's name for how ``tokenizer`` splits text. Raises InputError when it has none that is known here."""
    if not tokenizer.is_fast:
        raise InputError("the tokenizer has no tokenizer.json")
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    model, pre = described["model"], described["pre_tokenizer"] or {}
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("ignore_merges") or described["normalizer"]:
        raise InputError("the tokenizer is not a plain byte-level BPE")
    steps = pre["pretokenizers"] if pre.get("type") == "Sequence" else [pre]
    steps = [{name: value for name, value in step.items() if name != "trim_offsets"} for step in steps]
    for name, known in PRE_TOKENIZERS.items():
        if steps == known:
            return name
    raise InputError(f"the pre-tokenizer is not known ({', '.join(step.get('type', 'none') for step in steps)})")


def write(student: Student, path: Path, precision: Precision) -> None:
    """Write ``student``, which was checked, to ``path``."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, student, precision)
    _add_vocabulary(writer, student)
    _add_tensors(writer, student, precision)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, student: Student, precision: Precision) -> None:
    config = student.model.config
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(student.name)
    writer.add_description(f"Distilled from {student.record.teacher.name} ({student.record.pattern})")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_file_type(FILE_TYPES[precision])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_vocabulary(writer: gguf.GGUFWriter, student: Student) -> None:
    tokenizer, size = student.tokenizer, student.model.config.vocab_size
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    types = []
    for number in range(size):
        if number not in names:
            types.append(gguf.TokenType.UNUSED)
        elif number in added:
            types.append(gguf.TokenType.CONTROL if added[number].special else gguf.TokenType.USER_DEFINED)
        else:
            types.append(gguf.TokenType.NORMAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(tokenizer))
    writer.add_token_list([names.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(types)
    special = gguf.SpecialVocab(student.folder, load_merges=True, n_vocab=size)
    special.add_special_token.setdefault("bos", False)  # said, for llama.cpp's default depends on the pre-tokenizer
    special.add_to_gguf(writer, quiet=True)


def _add_tensors(writer: gguf.GGUFWriter, student: Student, precision: Precision) -> None:
    config = student.model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in student.model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # the embeddings serve as the head
        data = tensor.numpy()
        if ".q_proj." in name:
            data = interleave(data, config.num_attention_heads)
        if ".k_proj." in name:
            data = interleave(data, config.num_key_value_heads)
        kind = gguf.GGMLQuantizationType[_stored(data, precision).name]
        writer.add_tensor(names.get_name(name, (".weight", ".bias")), gguf.quantize(data, kind), raw_dtype=kind)


def _stored(data: np.ndarray, precision: Precision) -> Precision:
    """The precision of one tensor: vectors are small and touchy, and blocks of 8-bit numbers must fill a row."""
    if data.ndim == 1:
        return Precision.F32
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[precision.name]]
    return precision if data.shape[-1] % block == 0 else Precision.F16


def interleave(data: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in llama.cpp's order.

    The rotary embedding turns pairs of rows within a head. In transformers the pairs are (i, i + half), in llama.cpp,
    as in Llama's own code, (2i, 2i + 1).
    """
    return data.reshape(heads, 2, -1, *data.shape[1:]).swapaxes(1, 2).reshape(data.shape)
