"""Statements that a full batch of events costs, transaction control included."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection

from benchmarks.cases.draining import MONTH, drain
from benchmarks.figures import Figure, amount
from benchmarks.filling import configured, fill, prepare_events
from benchmarks.isolation import Place


def per_batch(place: Place) -> list[Figure]:
    """Drain one deep lane, of 10 and of 20 full batches, and divide the difference."""
    prepare_events(people=1)
    figures = []
    for keep, what in ((None, "without ledger"), (MONTH, "with ledger")):
        with configured(KEEP_SENT=keep):
            _statements(1)  # makes the lanes, and notes the success
            few, many = _statements(10), _statements(20)
        each = {name: (many[name] - few[name]) / 10 for name in many}
        figures.append(
            amount(
                f"statements a full batch, {what}",
                sum(each.values()),
                "statements",
                at_most=4 if keep is None else None,
                note=", ".join(f"{name} {n:g}" for name, n in sorted(each.items()) if n),
            )
        )
    return figures


def _statements(batches: int) -> Counter[str]:
    fill(batches * 500)
    seen: Counter[str] = Counter()
    with _counting(seen):
        drain()
    return seen


@contextmanager
def _counting(seen: Counter[str]) -> Iterator[None]:
    def execute(run: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        seen[str(sql).split(None, 1)[0].upper()] += 1
        return run(sql, params, many, context)

    set_autocommit, commit = connection._set_autocommit, connection._commit

    def counted_commit() -> None:
        seen["COMMIT"] += 1
        commit()

    def counted_autocommit(on: bool) -> None:
        # MariaDB is told each time; PostgreSQL is sent one BEGIN; SQLite's passes above.
        if connection.vendor == "mysql":
            seen["SET AUTOCOMMIT"] += 1
        elif connection.vendor == "postgresql" and not on:
            seen["BEGIN"] += 1
        set_autocommit(on)

    with (
        connection.execute_wrapper(execute),
        patch.object(connection, "_commit", counted_commit),
        patch.object(connection, "_set_autocommit", counted_autocommit),
    ):
        yield
