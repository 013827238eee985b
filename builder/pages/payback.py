"""The page of the break-even calculator."""

from __future__ import annotations

import html
from urllib.parse import quote

from markupsafe import Markup

from implementations.figures import count, percent
from implementations.teachers import prices
from implementations.teachers.prices import Price

from .. import data, payback
from ..results import day
from .find import FindPage
from .page import ADDRESS, front_matter


class PaybackPage(FindPage):
    example, start = payback.EXAMPLE, payback.start()
    usd, count, rate = staticmethod(payback.usd), staticmethod(count), staticmethod(payback.rate)

    def alternates(self) -> list[dict[str, str]]:
        return [{"href": self.to(data.PRICES), "type": "application/json", "title": "The prices as JSON"}]

    def data(self) -> Markup:
        """What the calculator's script reads, in the front matter."""
        return Markup(front_matter({"teachers": payback.data(), "most_days": prices.MOST_DAYS}))

    def break_even(self) -> Markup:
        return Markup(self.link("break-even", "term:break-even"))

    def teachers(self) -> list[tuple[str, Price]]:
        return [(teacher, price) for teacher, (_, price) in payback.teachers().items()]

    def by_platform(self) -> dict[str, list[tuple[str, Price]]]:
        found: dict[str, list[tuple[str, Price]]] = {}
        for teacher, (title, price) in payback.teachers().items():
            found.setdefault(title, []).append((teacher, price))
        return found

    def command(self) -> Markup:
        """Shown as code, where what is escaped would be shown so; the table's names of models hold no markup."""
        return Markup(payback.command(payback.EXAMPLE, payback.EXAMPLE_TEACHER))

    def worked(self, price: Price) -> list[str]:
        return payback.worked(price)

    def volumes(self) -> list[str]:
        return [count(volume) for volume in payback.VOLUMES]

    def batch_share(self) -> str:
        """What a batch job costs of the full price, of all teachers of the table."""
        shares = sorted({price.batch for _, price in self.teachers()})
        return " to ".join(dict.fromkeys(percent(share) for share in (shares[0], shares[-1])))

    def day(self, price: Price) -> str:
        return day(str(price.date))

    def source(self, price: Price) -> Markup:
        return Markup(html.escape(quote(price.source, safe=ADDRESS)))

    def notes(self, price: Price) -> list[str]:
        """What else a reader must know of a price."""
        long, until, notes = price.rates.long, price.rates.until, [price.note] if price.note else []
        if until:
            notes.insert(0, f"promised until {day(str(until))}")
        if long:
            notes.insert(0, f"over {count(long.above)} tokens: {self.rate(long.input)} and {self.rate(long.output)}")
        return notes
