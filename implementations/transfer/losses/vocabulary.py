"""Whether two models mean the same tokens by the same rows of their heads."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from ...errors import InputError


def common_vocabulary(
    student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, student_rows: int, teacher_rows: int
) -> int:
    """How many of the first entries of both models' logits are the same tokens: cut both to them before comparing.

    ``student_rows`` and ``teacher_rows`` are the sizes V of the logits. Models of one family pad their heads to
    different sizes (Qwen2.5: 151,936 and 152,064 rows for the same 151,665 tokens), or add tokens at the end; those
    rows stand for nothing in the other model and are left out.
    Raises InputError when an id below that is not the same token in both, whatever the sizes.
    """
    ours, theirs = ({i: token for token, i in tokenizer.get_vocab().items()} for tokenizer in (student, teacher))
    size = min(max(ours) + 1, max(theirs) + 1, student_rows, teacher_rows)
    different = [i for i in range(size) if ours.get(i) != theirs.get(i)]
    if different:
        first = different[0]
        raise InputError(
            f"student and teacher have different tokens at {len(different)} of {size} ids, the first at id {first}: "
            f"{ours.get(first)!r} and {theirs.get(first)!r}; take a student with the teacher's tokenizer, or the "
            "cross-tokenizer loss (implementations.transfer.losses.cross_tokenizer)"
        )
    return size
