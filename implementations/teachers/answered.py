"""A teacher whose answers are there already: from another machine, whose ledger came along, or out of its log."""

from __future__ import annotations

from ..registry import PLATFORMS
from .teacher import Answer, Rejected, Request


class AnsweredTeacher:
    """What --teacher ``spec`` names, without its platform: whatever is in the ledger is known, the rest stays open.

    ``identity`` is that of the teacher that answered, under which the ledger has its answers.
    """

    folder, leaves_machine = None, False

    def __init__(self, spec: str, identity: str):
        self.platform, _, self.model = spec.partition(":")
        self.name, self.identity, self.gives = spec, identity, PLATFORMS[self.platform].gives

    async def ask(self, request: Request) -> Answer:
        """Raises Rejected."""
        raise Rejected("it had no answer when the run was launched, and none in its log")

    async def count_tokens(self, request: Request) -> int:
        """Raises Rejected."""
        raise Rejected("its platform is not asked from here")

    async def close(self) -> None:
        """Nothing is open."""
