"""What may leave the machine: identifiers are found, dosages are not, and what is redacted comes back."""

from __future__ import annotations

import json
import random
import re
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from implementations import privacy
from implementations.errors import InputError
from implementations.privacy import Kind, Redactor, find, scan
from implementations.tasks.clinical_summary import ClinicalSummary
from implementations.tasks.task import Sizes

FIXTURE = Path(__file__).parent / "fixtures" / "identifiers.jsonl"
LABELLED = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
NOTE = "Anna, DOB 03/14/1961, MRN 00482913, call (212) 555-0143 or write to anna.berg@example.org."


def found(text, region="US"):
    return [(f.kind.name, text[f.start : f.end]) for f in find(text, region)]


def precision_and_recall(rows):
    """Both, over identifiers of the right kind and exactly the right extent."""
    got = [Counter(found(row["text"])) for row in rows]
    labelled = [Counter(map(tuple, row["found"])) for row in rows]
    right = sum((g & w).total() for g, w in zip(got, labelled, strict=True))
    return right / sum(g.total() for g in got), right / sum(w.total() for w in labelled)


def test_precision_and_recall_are_those_that_the_module_states():
    stated = [float(n) for n in re.findall(r"(?:precision|recall) (0\.\d+)", privacy.__doc__.replace("\n", " "))]
    assert [round(value, 2) for value in precision_and_recall(LABELLED)] == stated
    assert sum(len(row["found"]) for row in LABELLED) == int(re.search(r"(\d+) identifiers", privacy.__doc__)[1])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.PLACEHOLDER])
def test_most_of_every_kind_is_found(kind):
    labelled = Counter(value for row in LABELLED for name, value in row["found"] if name == kind.name)
    got = Counter(value for row in LABELLED for name, value in found(row["text"]) if name == kind.name)
    assert (got & labelled).total() >= 0.7 * labelled.total() >= 2


def test_clinical_notes_without_identifiers_have_next_to_none():
    splits = ClinicalSummary().splits(Sizes(gold=4, transfer=1000, dev=4, heldout=4, unseen=4), seed=3)
    assert scan(item.prompt for item in splits.transfer) == {}


def test_scan_counts_by_kind():
    assert scan([NOTE, "ring (212) 555-0143", "BP 120/80"]) == {
        "phone number": 2,
        "date of birth": 1,
        "medical record number": 1,
        "e-mail address": 1,
    }
    assert scan([]) == {}


def test_a_number_without_its_countrys_code_is_a_phone_number_of_the_region():
    assert found("surgery 020 7946 0958", "GB") == [("PHONE", "020 7946 0958")]
    assert found("surgery 020 7946 0958", "US") == []


def test_check_digits():
    assert found("4111 1111 1111 1111") and not found("4111 1111 1111 1112")
    assert found("GB29 NWBK 6016 1331 9268 19") and not found("GB29 NWBK 6016 1331 9268 18")
    assert found("AT61 1904 3002 3457 3201 PAID") == [("IBAN", "AT61 1904 3002 3457 3201")]
    assert not found("AT61190430023457320199")  # goes on
    assert found("256.1.1.1 then 10.1.1.1") == [("IP_ADDRESS", "10.1.1.1")]


def test_of_what_overlaps_the_more_certain_is_taken():
    assert found("see https://example.org/?by=a@b.example") == [("URL", "https://example.org/?by=a@b.example")]
    assert found("NHS number 212 555 0143") == [("MEDICAL_RECORD", "212 555 0143")]


def test_redaction_is_the_same_everywhere_and_comes_back(tmp_path):
    with Redactor(tmp_path / "placeholders.sqlite") as redactor:
        redacted = redactor.redact(NOTE)
        assert redacted == "Anna, DOB <DATE_OF_BIRTH_1>, MRN <MEDICAL_RECORD_1>, call <PHONE_1> or write to <EMAIL_1>."
        assert redactor.redact("b@example.org, anna.berg@example.org") == "<EMAIL_2>, <EMAIL_1>"
        assert redactor.restore(redacted) == NOTE
        assert redactor.restore("Call <PHONE_1>, not <PHONE_9> or <NAME_1>.") == (
            "Call (212) 555-0143, not <PHONE_9> or <NAME_1>."
        )
    with Redactor(tmp_path / "placeholders.sqlite") as again:
        assert again.redact("new@example.org, " + NOTE).endswith(redacted) and again.restore("<EMAIL_3>")[:3] == "new"


def test_a_text_that_has_placeholders_of_its_own_comes_back_too(tmp_path):
    text = "Write <EMAIL_1> for a@example.org; <EMAIL_2> and <PLACEHOLDER_1> stay."
    with Redactor(tmp_path / "placeholders.sqlite") as redactor:
        redacted = redactor.redact(text)
        assert redactor.restore(redacted) == text
        assert redacted == "Write <PLACEHOLDER_1> for <EMAIL_1>; <PLACEHOLDER_2> and <PLACEHOLDER_3> stay."


def test_whatever_is_redacted_comes_back(tmp_path):
    draw = random.Random(1)
    values = [value for row in LABELLED for _, value in row["found"]] + ["<PHONE_1>", "<URL_12>", "25 mg", "<", "ä\n"]
    with Redactor(tmp_path / "placeholders.sqlite") as redactor:
        for _ in range(200):
            text = draw.choice(["", " ", ", "]).join(draw.choices(values, k=draw.randrange(12)))
            assert redactor.restore(redactor.redact(text)) == text


def test_the_mapping_is_on_disk_before_the_text_is_out_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "runs" / "placeholders.sqlite"
    code = f"""
import os
from pathlib import Path
from implementations.privacy import Redactor
print(Redactor(Path({str(path)!r})).redact("a@example.org"), flush=True)
os._exit(9)  # as a kill
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "<EMAIL_1>\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Redactor(path) as redactor:
        assert redactor.restore("<EMAIL_1>") == "a@example.org"


def test_two_at_once_give_no_number_to_two_values(tmp_path):
    path, texts = tmp_path / "placeholders.sqlite", [f"{n}@example.org" for n in range(40)]
    given: list[dict[str, str]] = [{}, {}]

    def run(mine: dict[str, str], order: list[str]) -> None:
        with Redactor(path) as redactor:
            mine.update({text: redactor.redact(text) for text in order})

    threads = [
        threading.Thread(target=run, args=(mine, order))
        for mine, order in zip(given, (texts, texts[::-1]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given[0] == given[1] and len(set(given[0].values())) == len(texts)


def test_a_file_that_is_no_mapping(tmp_path):
    path = tmp_path / "placeholders.sqlite"
    path.write_text("not a database, and long enough to be looked at as one" * 40)
    with pytest.raises(InputError, match=r"placeholders\.sqlite: file is not a database; move the file away"):
        Redactor(path)


@pytest.mark.parametrize(
    "text", ["a@" + "a." * 20_000, "dob" + " " * 40_000, "1:" * 20_000, "http://" * 6_000, "(" * 40_000]
)
def test_no_text_takes_long(text):
    started = time.monotonic()
    find(text)
    assert time.monotonic() - started < 5
