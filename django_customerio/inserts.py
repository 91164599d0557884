"""The INSERT into the outbox, of one row or of many.

Ready made: through the ORM it costs half as much again as the save that caused it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from django.db import connections

from .models import OutboxMessage

COLUMNS = (
    "ulid", "workspace", "site", "lane", "person", "kind", "state", "model", "object_pk", "name",
    "attribute_names", "body", "size", "created_at", "cause", "expires_at", "attempts",
    "retry_at", "answer",
)  # fmt: skip

Values: TypeAlias = tuple[Any, ...]
"""A row as the database takes it, in the order of COLUMNS."""

ULID, WORKSPACE, PERSON, KIND, SIZE = map(
    COLUMNS.index, ("ulid", "workspace", "person", "kind", "size")
)

MAX_ROWS = 500
"""In one statement."""

MAX_BYTES = 500_000
"""Of payload in one statement, for servers that take no more than a megabyte."""

MAX_PARAMETERS = 65_535
"""In one statement where Django knows no lower limit; PostgreSQL's when it binds them."""


@lru_cache(maxsize=64)
def statement(using: str, rows: int = 1) -> str:
    """An INSERT of so many rows."""
    quote = connections[using].ops.quote_name
    columns = ", ".join(map(quote, COLUMNS))
    places = f"({', '.join(['%s'] * len(COLUMNS))})"
    table = quote(OutboxMessage._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([places] * rows)}"


def insert(using: str, rows: Sequence[Values]) -> None:
    """Insert rows by one statement, in their order."""
    with connections[using].cursor() as cursor:
        cursor.execute(statement(using, len(rows)), [each for row in rows for each in row])


def chunks(using: str, rows: Sequence[Values]) -> Iterator[Sequence[Values]]:
    """Cut rows into what one statement takes on this database."""
    parameters = connections[using].features.max_query_params or MAX_PARAMETERS
    most = min(MAX_ROWS, parameters // len(COLUMNS))
    begin = size = 0
    for number, row in enumerate(rows):
        size += row[SIZE]
        if number - begin == most or (size > MAX_BYTES and number > begin):
            yield rows[begin:number]
            begin, size = number, row[SIZE]
    if begin < len(rows):
        yield rows[begin:]
