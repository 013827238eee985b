"""What may leave the machine: find what looks like a person's identifiers, and keep them here.

Patterns and check digits, no model and nothing to download. Found are e-mail addresses, phone numbers, IP addresses,
card numbers, IBANs, US social security numbers, medical record numbers and dates of birth that are called so, and
URLs. Not found are names, addresses, ages, other dates, and whatever is written around ("john at example dot org"):
text without findings can still tell who somebody is.

On tests/fixtures/identifiers.jsonl (59 identifiers in 86 texts, 33 of them traps; ours, so no measure of other texts):
precision 0.94, recall 0.86. In 1,000 generated clinical notes nothing is found.

phonenumberslite (one package, 3 MB, imported in 0.1 s) knows each country's numbers. presidio-analyzer's patterns are
not to be had without spaCy (51 packages, 299 MB, imported in 2.5 s).
"""

from __future__ import annotations

import ipaddress
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Self

from phonenumbers import Leniency, PhoneNumberMatcher

from .errors import InputError, disk_errors, full_disk, is_full


class Kind(StrEnum):
    """What was found, those first that a check digit or a word beside them makes certain."""

    PLACEHOLDER = "text that looks like a placeholder of ours"
    URL = "URL"
    EMAIL = "e-mail address"
    IBAN = "IBAN"
    CREDIT_CARD = "card number"
    DATE_OF_BIRTH = "date of birth"
    MEDICAL_RECORD = "medical record number"
    US_SSN = "US social security number"
    IP_ADDRESS = "IP address"
    PHONE = "phone number"


class Finding(NamedTuple):
    """An identifier at ``text[start:end]``."""

    start: int
    end: int
    kind: Kind


def scan(texts: Iterable[str], region: str = "US") -> dict[str, int]:
    """How many identifiers of each kind stand in ``texts``, the most frequent first; empty where none does.

    ``region`` (two letters) is whose phone numbers are written without a country's code.
    """
    found = Counter(f.kind.value for text in texts for f in find(text, region) if f.kind is not Kind.PLACEHOLDER)
    return dict(found.most_common())


def summary(texts: Iterable[str], region: str = "US") -> str:
    """What ``scan`` counts, for the middle of a sentence."""
    found = scan(texts, region)
    return ", ".join(f"{number} {kind}" for kind, number in found.items()) or "nothing that looks like an identifier"


def find(text: str, region: str = "US") -> list[Finding]:
    """The identifiers in ``text`` in order; where two overlap, the more certain kind."""
    findings, taken = [], bytearray(len(text))
    for finding in _candidates(text, region):
        here = slice(finding.start, finding.end)
        if not any(taken[here]):
            taken[here] = bytes([1]) * (finding.end - finding.start)
            findings.append(finding)
    return sorted(findings)


class Redactor:
    """Puts <EMAIL_1> for an e-mail address and so on, and the address back where an answer says <EMAIL_1>.

    The same text always becomes the same placeholder, in this run and the next, so that the ledger knows a redacted
    prompt again. What stands for what is kept in the file ``path``, which only its owner may read: keep it where the
    ledger is, and never send it. It is written before a redacted text can be sent.
    """

    def __init__(self, path: Path, region: str = "US"):
        self.path, self.region = path, region
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        try:
            self._db = sqlite3.connect(path, timeout=30)
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS placeholders (kind TEXT, number INTEGER, value TEXT NOT NULL,"
                " PRIMARY KEY (kind, number), UNIQUE (kind, value)) STRICT"
            )
        except sqlite3.DatabaseError as error:
            if is_full(error):
                raise full_disk(path) from error
            raise InputError(f"{path}: {error}; move the file away, or give --workdir another folder") from error

    def redact(self, text: str) -> str:
        """``text`` with a placeholder for every identifier that ``find`` finds."""
        pieces, at = [], 0
        with disk_errors(self.path), self._db:  # all of a text or nothing
            for start, end, kind in find(text, self.region):
                pieces += [text[at:start], self._placeholder(kind.name, text[start:end])]
                at = end
        return "".join([*pieces, text[at:]])

    def restore(self, text: str) -> str:
        """``text`` with what its placeholders stand for; one that stands for nothing stays."""
        return PLACEHOLDER.sub(self._value, text)

    def _placeholder(self, kind: str, value: str) -> str:
        # One statement, so that two processes never give one number to two values.
        self._db.execute(
            "INSERT OR IGNORE INTO placeholders SELECT ?1, coalesce(max(number), 0) + 1, ?2 FROM placeholders"
            " WHERE kind = ?1",
            (kind, value),
        )
        query = "SELECT number FROM placeholders WHERE kind = ? AND value = ?"
        [number] = self._db.execute(query, (kind, value)).fetchone()
        return f"<{kind}_{number}>"

    def _value(self, match: re.Match[str]) -> str:
        query = "SELECT value FROM placeholders WHERE kind = ? AND number = ?"
        row = self._db.execute(query, match.groups()).fetchone()
        return row[0] if row else match.group()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _candidates(text: str, region: str) -> Iterator[Finding]:
    """What each kind's pattern finds and its check lets pass, kind by kind; they may overlap."""
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            start, end = match.span("id" if "id" in pattern.groupindex else 0)
            if kind in CHECKS:
                end = start + CHECKS[kind](text[start:end])
            if end > start:
                yield Finding(start, end, kind)
    if PHONE_DIGITS.search(text):  # the matcher takes a millisecond, most texts have nothing for it
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            yield Finding(match.start, match.end, Kind.PHONE)


def _card(text: str) -> int:
    """How much of ``text`` is a card number: all of it if its check digit is right (Luhn), else nothing."""
    digits = [int(c) for c in reversed(text) if c.isdigit()]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[1::2])
    return len(text) if (sum(digits[::2]) + sum(doubled)) % 10 == 0 else 0


def _iban(text: str) -> int:
    """How much of ``text`` is an IBAN: as many characters as its country's have, if its check digits are right."""
    length = IBAN_LENGTHS.get(text[:2], 0)
    ends = [i + 1 for i, c in enumerate(text) if c != " "][length - 1 : length]
    if not ends or not (len(text) == ends[0] or text[ends[0]] == " "):
        return 0
    letters = text[: ends[0]].replace(" ", "")
    number = "".join(str(int(c, 36)) for c in letters[4:] + letters[:4])
    return ends[0] if int(number) % 97 == 1 else 0


def _ip(text: str) -> int:
    """How much of ``text`` is an IP address; :: alone is one that nobody has."""
    try:
        return 0 if ipaddress.ip_address(text).is_unspecified else len(text)
    except ValueError:
        return 0


CHECKS = {Kind.CREDIT_CARD: _card, Kind.IBAN: _iban, Kind.IP_ADDRESS: _ip}
IBAN_LENGTHS = {  # characters, by country
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]+)(\d+)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
        "LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 "
        "SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20",
    )
}
PLACEHOLDER = re.compile(rf"<({'|'.join(kind.name for kind in Kind)})_(\d+)>")
PHONE_DIGITS = re.compile(r"\d(?:[ ().\-/]{0,3}\d){6}")

_MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?"
_DATE = (
    r"\d{1,2}[./-]\d{1,2}[./-](?:\d{4}|\d{2})|\d{4}-\d{2}-\d{2}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}"
)
_IS = r"(?:[:#=\s]| is| was| on){1,6}"
# Where a group is named id, the identifier is that group, and the words before it are what makes it one.
PATTERNS = {
    Kind.PLACEHOLDER: PLACEHOLDER,
    Kind.URL: re.compile(r"\b(?:https?://|www\.)[^\s<>\"']+(?<![.,;:!?)\]}])", re.IGNORECASE),
    Kind.EMAIL: re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"),
    Kind.IBAN: re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b"),
    Kind.CREDIT_CARD: re.compile(
        r"(?<![\d.,-])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d|35\d\d)(?P<a>[ -]?)\d{4}(?P=a)\d{4}(?P=a)\d{4}"
        r"|3[47]\d\d(?P<b>[ -]?)\d{6}(?P=b)\d{5}|3[068]\d\d(?P<c>[ -]?)\d{6}(?P=c)\d{4})(?![\d-])"
    ),
    Kind.DATE_OF_BIRTH: re.compile(
        rf"\b(?:d\.?o\.?b\.?|date of birth|birth ?date|born){_IS}(?P<id>{_DATE})\b", re.IGNORECASE
    ),
    Kind.MEDICAL_RECORD: re.compile(
        r"\b(?:MRN|NHS|(?:medical record|hospital|NHS|patient|chart) ?(?:number|no\.?|id|identifier|#))"
        rf"{_IS}(?P<id>[A-Z]{{0,4}}-?\d(?:[ -]?\d){{4,11}})\b",
        re.IGNORECASE,
    ),
    Kind.US_SSN: re.compile(
        rf"(?P<word>\b(?:SSN|social security(?: number| no\.?)?){_IS})?(?<![\d-])"
        r"(?P<id>(?!000|666|9)\d{3}(?(word)[ -]?|-)(?!00)\d\d(?(word)[ -]?|-)(?!0000)\d{4})(?![\d-])",
        re.IGNORECASE,
    ),
    Kind.IP_ADDRESS: re.compile(
        r"(?<![\w.:])(?<!version )(?<!section )(?:(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4})"
        r"(?![\w:]|\.\d)",
        re.IGNORECASE,
    ),
}
