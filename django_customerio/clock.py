"""The database's clock, the only one that judges leases, pauses and readings.

Instants are integers, milliseconds since 1970-01-01 UTC: they compare alike on every
database, whatever ``USE_TZ``, the session's time zone or a worker's own clock say.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Expression

_SQL = {
    "postgresql": "(extract(epoch from clock_timestamp()) * 1000)::bigint",
    "mysql": "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)",
    "sqlite": "cast(round((julianday('now') - 2440587.5) * 86400000) as integer)",
}

SUPPORTED_VENDORS = frozenset(_SQL)


def clock_sql(connection: BaseDatabaseWrapper) -> str:
    """Return SQL for the present instant.

    Raises:
        ImproperlyConfigured: this database has no support yet.
    """
    try:
        return _SQL[connection.vendor]
    except KeyError:
        raise ImproperlyConfigured(
            f"django-customerio does not support the database {connection.vendor!r} of "
            f"DATABASES[{connection.alias!r}]: use PostgreSQL, MariaDB, MySQL or SQLite, or "
            f'leave the alias out of CUSTOMERIO["DATABASES"].'
        ) from None


def now_ms(using: str) -> int:
    """Ask the database ``using`` for the present instant."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {clock_sql(connection)}")
        return int(cursor.fetchone()[0])


class DatabaseClock(Expression):
    """The present instant, as an expression for ``annotate()``."""

    output_field = BigIntegerField()

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> tuple[str, list[Any]]:  # type: ignore[override]
        return clock_sql(connection), []
