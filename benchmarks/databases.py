"""Databases of the benchmark's own, on the servers that the tests use; made and dropped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("sqlite", "postgres", "mariadb")


def configuration(kind: str, name: str) -> dict[str, Any]:
    """Return Django's settings of a database; *name* is a path on SQLite."""
    match kind:
        case "postgres":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "HOST": os.environ.get("CIO_PG_HOST", "127.0.0.1"),
                "USER": os.environ.get("CIO_PG_USER", "postgres"),
                "PASSWORD": os.environ.get("CIO_PG_PASSWORD", ""),
            }
        case "mariadb":
            use_some_mysql_driver()
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": name,
                "HOST": os.environ.get("CIO_MARIADB_HOST", "127.0.0.1"),
                "USER": os.environ.get("CIO_MARIADB_USER", "root"),
                "PASSWORD": os.environ.get("CIO_MARIADB_PASSWORD", ""),
                "OPTIONS": {"charset": "utf8mb4"},
            }
        case _:
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": name,
                # As in the example shop.
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 20,
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                },
            }


def use_some_mysql_driver() -> str:
    """Return the name of the driver; PyMySQL stands in where mysqlclient is not built."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.version_info = (2, 2, 8, "final", 0)
        pymysql.install_as_MySQLdb()
        return "PyMySQL"
    return "mysqlclient"


@contextmanager
def created(kind: str) -> Iterator[str]:
    """Make an empty database while the block lasts, and give its name.

    Raises:
        Exception: the driver's own, when the server does not answer.
    """
    name = f"bench_cio_{os.getpid()}"
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bench_cio_") as folder:
            yield str(Path(folder) / f"{name}.sqlite3")
        return
    run = _run_on_postgres if kind == "postgres" else _run_on_mariadb
    more = " CHARACTER SET utf8mb4" if kind == "mariadb" else ""
    run(f"CREATE DATABASE {name}{more}")
    try:
        yield name
    finally:
        force = " WITH (FORCE)" if kind == "postgres" else ""
        with suppress(Exception):
            run(f"DROP DATABASE {name}{force}")


def unreachable() -> tuple[type[Exception], ...]:
    """Return the errors that mean that a server, or its driver, is not there."""
    found: list[type[Exception]] = [ImportError]
    with suppress(ImportError):
        import psycopg

        found.append(psycopg.Error)
    with suppress(ImportError):
        use_some_mysql_driver()
        import MySQLdb

        found.append(MySQLdb.Error)
    return tuple(found)


def _run_on_postgres(statement: str) -> None:
    import psycopg

    facts = configuration("postgres", os.environ.get("CIO_PG_DATABASE", "postgres"))
    with psycopg.connect(
        host=facts["HOST"],
        user=facts["USER"],
        password=facts["PASSWORD"],
        dbname=facts["NAME"],
        autocommit=True,
        connect_timeout=5,
    ) as connection:
        connection.execute(statement)


def _run_on_mariadb(statement: str) -> None:
    use_some_mysql_driver()
    import MySQLdb

    facts = configuration("mariadb", "")
    connection = MySQLdb.connect(
        host=facts["HOST"], user=facts["USER"], passwd=facts["PASSWORD"], connect_timeout=5
    )
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()
