"""Runs the test suite on every database that answers, and says which those were.

``python scripts/suite.py [--require-all] [--no-coverage] [pytest's arguments]``

The servers are those of ``tests/settings.py``: ``CIO_PG_HOST``, ``CIO_MARIADB_HOST`` and
their companions name others than the ones on this machine. Branch coverage is combined over
the databases and must be complete, if all of them ran and no argument selected tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATABASES = ("sqlite", "postgres", "mariadb")
PROBE = """
import sys

import django
django.setup()
from django.db import OperationalError, connection
try:
    if connection.vendor != "sqlite":  # which always answers, and would leave a file behind
        connection.ensure_connection()
except OperationalError as error:
    print(str(error).strip().splitlines()[0])
    sys.exit(3)
print(connection.display_name, ".".join(map(str, connection.get_database_version())),
      "by", connection.Database.__name__)
"""


def environment(database: str) -> dict[str, str]:
    """Return the environment in which the suite runs on a database."""
    return os.environ | {
        "CIO_TEST_DB": database,
        "COVERAGE_FILE": str(ROOT / ".coverage"),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
    }


def answer_of(database: str) -> tuple[bool, str]:
    """Ask a database; return whether it answered, and its name or why it did not.

    Raises:
        SystemExit: the suite cannot even be set up, which is no matter of a server.
    """
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE],
            cwd=ROOT,
            env=environment(database),
            capture_output=True,
            text=True,
            timeout=30,
        )
    except subprocess.TimeoutExpired:
        return False, "no answer within 30 s"
    if probe.returncode not in {0, 3}:
        raise SystemExit(f"The suite cannot start on {database}:\n{probe.stderr}")
    return probe.returncode == 0, probe.stdout.strip()


def run(database: str, arguments: list[str], *, coverage: bool) -> int:
    """Run pytest on a database and return its exit code."""
    python = [sys.executable, "-X", "dev"]
    if coverage:
        python += ["-m", "coverage", "run"]
    workers = os.environ.get("CIO_TEST_WORKERS", "2")
    parallel = [] if workers == "0" else ["-n", workers]
    return subprocess.run(
        [*python, "-m", "pytest", *parallel, *arguments], cwd=ROOT, env=environment(database)
    ).returncode


def coverage_gate(*, complete: bool) -> int:
    """Combine the data of all runs and report; only a complete run is held to 100 %."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "combine", "--quiet"], cwd=ROOT, env=environment("sqlite"))
    limit = "100" if complete else "0"
    report = [*coverage, "report", f"--fail-under={limit}"]
    return subprocess.run(report, cwd=ROOT, env=environment("sqlite")).returncode


def main(arguments: list[str]) -> int:
    """Run the suite where it can run; return 0 if every run passed."""
    require_all = "--require-all" in arguments
    coverage = "--no-coverage" not in arguments
    arguments = [word for word in arguments if word not in {"--require-all", "--no-coverage"}]
    for old in ROOT.glob(".coverage*"):
        old.unlink()

    outcome: dict[str, str] = {}
    failed: list[str] = []
    for database in DATABASES:
        there, words = answer_of(database)
        print(f"\n=> {database}: {words}", flush=True)
        if not there:
            outcome[database] = f"not run: {words}"
            continue
        started = time.monotonic()
        code = run(database, arguments, coverage=coverage)
        seconds = time.monotonic() - started
        outcome[database] = f"{'passed' if code == 0 else 'FAILED'} in {seconds:.0f} s ({words})"
        if code:
            failed.append(database)

    absent = [database for database, words in outcome.items() if words.startswith("not run")]
    gate = 0
    if coverage and not failed:
        print(flush=True)
        gate = coverage_gate(complete=not absent and not arguments)
    print("\nThe suite on each database:")
    for database, words in outcome.items():
        print(f"  {database:<9} {words}")
    if gate:
        print("  coverage  FAILED: branch coverage of django_customerio must be 100 %")
    if require_all and absent:
        print(f"  All databases are required here, and absent: {', '.join(absent)}.")
    return 1 if failed or gate or (require_all and absent) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
