"""Reads a purchase history: one line for each purchase, columns separated by spaces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

COLUMNS = "customer in the full set, customer in this sample, YYYYMMDD, CDs, dollars"


class MalformedLineError(ValueError):
    """A line that is no purchase; the text says which and why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One line: who bought how much, and when.

    ``line`` names it for good: the customer, and which of their purchases it is. Lines
    that are added to the end of the file later do not change it.
    """

    customer: int
    placed_at: datetime
    quantity: int
    amount: Decimal
    line: str


def read(lines: Iterable[str]) -> Iterator[Purchase]:
    """The purchases of a file; blank lines are skipped.

    Raises:
        MalformedLineError: At the first line that is no purchase.
    """
    seen: Counter[int] = Counter()
    for number, text in enumerate(lines, start=1):
        columns = text.split()
        if not columns:
            continue
        if len(columns) != 5:
            raise MalformedLineError(
                f"Line {number}: there are {len(columns)} columns, not 5 ({COLUMNS})."
            )
        _full_set, customer, day, quantity, amount = columns
        try:
            what = "the customer is no number"
            who = int(customer)
            what = "the date is not YYYYMMDD"
            if len(day) != 8:
                raise ValueError
            placed_at = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC)
            what = "the number of CDs is no whole number of at least 1"
            cds = int(quantity)
            if cds < 1:
                raise ValueError
            what = "the dollars are no amount with at most two decimals"
            dollars = Decimal(amount)
            if not 0 <= dollars < 10**8 or dollars != round(dollars, 2):
                raise ValueError
        except (ValueError, InvalidOperation):
            raise MalformedLineError(f"Line {number}: {what}.") from None
        seen[who] += 1
        yield Purchase(
            customer=who,
            placed_at=placed_at,
            quantity=cds,
            amount=dollars,
            line=f"{who:06d}-{seen[who]:05d}",
        )
