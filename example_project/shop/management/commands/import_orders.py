"""Turns a purchase history into customers and their orders, through the models."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from tqdm import tqdm

from shop.models import Customer, Order
from shop.purchases import COLUMNS, MalformedLineError, Purchase, read


class Command(BaseCommand):
    help = (
        "Turns a purchase history into customers and dated orders. It may be stopped and run "
        "again: a line that was taken is not taken twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help=f"Columns: {COLUMNS}.")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            with path.open(encoding="ascii") as lines:
                purchases = list(read(lines))
        except MalformedLineError as error:
            raise CommandError(f"{error} Nothing was imported.") from None
        except UnicodeDecodeError:
            raise CommandError("The file is not plain text. Nothing was imported.") from None
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
        taken = set(Order.objects.exclude(line=None).values_list("line", flat=True))
        fresh = [purchase for purchase in purchases if purchase.line not in taken]
        for purchase in self._progress(fresh):
            _take(purchase)
        self.stdout.write(
            f"{len(fresh):,} orders imported, {len(purchases) - len(fresh):,} were there already."
        )

    def _progress(self, purchases: Sequence[Purchase]) -> Iterable[Purchase]:
        if sys.stderr.isatty():
            return tqdm(purchases, unit=" orders")
        return self._lines(purchases)

    def _lines(self, purchases: Sequence[Purchase]) -> Iterator[Purchase]:
        for number, purchase in enumerate(purchases, start=1):
            yield purchase
            if number % 1000 == 0:
                self.stdout.write(f"{number:,} of {len(purchases):,}")


@transaction.atomic
def _take(purchase: Purchase) -> None:
    customer, _created = Customer.objects.get_or_create(
        email=f"customer-{purchase.customer:04d}@example.com",
        defaults={
            "first_name": f"Customer {purchase.customer}",
            "date_joined": purchase.placed_at,
            "password": "!",  # nobody logs in with it
        },
    )
    customer.buy(
        quantity=purchase.quantity,
        amount=purchase.amount,
        placed_at=purchase.placed_at,
        line=purchase.line,
    )
