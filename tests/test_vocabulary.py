"""Two models share a vocabulary when their ids say so, not when their sizes do."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from implementations.errors import InputError
from implementations.transfer.losses.vocabulary import common_vocabulary

WORDS = "<unk> the note says that all is well".split()


def tokenizer(words: list[str], *added: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.add_special_tokens(list(added))
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


@pytest.mark.parametrize(
    ("student", "teacher", "rows", "size"),
    [
        ([], [], (8, 8), 8),
        ([], [], (64, 128), 8),  # heads padded to different sizes
        (["<a>"], ["<a>"], (64, 64), 9),
        ([], ["<a>", "<b>"], (64, 64), 8),  # tokens that only the teacher has, at the end
        (["<a>", "<b>"], [], (10, 64), 8),
        (["<a>"], ["<a>", "<b>"], (9, 10), 9),
        (["<a>"], ["<a>"], (8, 64), 8),  # a head that was never widened for the added token
    ],
)
def test_one_family(student, teacher, rows, size):
    assert common_vocabulary(tokenizer(WORDS, *student), tokenizer(WORDS, *teacher), *rows) == size


@pytest.mark.parametrize(
    ("words", "added", "message"),
    [
        ([WORDS[0], *WORDS[:0:-1]], (), "different tokens at 6 of 8 ids, the first at id 1: 'the' and 'well'"),
        ([*WORDS[:-1], "bad"], (), "at 1 of 8 ids, the first at id 7: 'well' and 'bad'"),
        ([*WORDS[:4], *WORDS[5:]], (), "at 3 of 7 ids, the first at id 4: 'that' and 'all'"),
        (WORDS, ("<b>",), "at 1 of 9 ids, the first at id 8: '<a>' and '<b>'"),
    ],
)
def test_other_tokens_are_refused_whatever_the_sizes(words, added, message):
    ours = tokenizer(WORDS, "<a>") if added else tokenizer(WORDS)
    with pytest.raises(InputError, match=message) as refused:
        common_vocabulary(ours, tokenizer(words, *added), 64, 64)
    assert "losses.cross_tokenizer" in str(refused.value)
