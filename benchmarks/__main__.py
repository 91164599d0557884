"""Measure this machine: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import databases, rival, server
from benchmarks.cases import CASES
from benchmarks.figures import Figure, absent, table
from benchmarks.isolation import MeasurementError, Place, measure

Row = tuple[str, Figure]


def main() -> int:
    """Measure what was chosen, print the table and write it where that was asked for."""
    options = _parser().parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    official = rival.python() if "events" in options.only else ""
    if "events" in options.only and not official:
        _say(f"The official client is left out: customerio {rival.VERSION} cannot be installed.")
    large = 0 if options.quick else options.large
    with server.serving() as url:
        for kind in options.database:
            try:
                with databases.created(kind) as name:
                    place = Place(
                        database=kind,
                        name=name,
                        url=url,
                        quick=options.quick,
                        large=large,
                        rival=official,
                    )
                    rows += _measured(place, options.only)
            except databases.unreachable() as error:
                _say(f"{kind} is left out: {str(error).splitlines()[0]}")
    text = _text(rows, quick=options.quick, seconds=time.monotonic() - began)
    print(f"\n{text}")
    if options.output:
        options.output.write_text(text)
    return 0 if rows else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--database", nargs="+", choices=databases.NAMES, default=databases.NAMES, help="which"
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=tuple(CASES), metavar="NAME",
        help=f"of {', '.join(CASES)}")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small and rough, for a first look")
    parser.add_argument(
        "--large", type=int, default=1_000_000, metavar="ROWS", help="of the large backlog"
    )
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there too")
    return parser


def _measured(place: Place, names: list[str]) -> Iterator[Row]:
    measure("benchmarks.filling:migrate", place)
    for number, name in enumerate(names, 1):
        _say(f"{place.database} {number}/{len(names)}: {name} …")
        began = time.monotonic()
        try:
            figures: list[Figure] = measure(CASES[name], place)
        except MeasurementError as error:
            _say(str(error))
            figures = [absent(name, str(error).strip().splitlines()[-1])]
        for figure in figures:
            _say(f"    {figure.what}: {figure.measured}{_verdict(figure)}")
            yield place.database, figure
        _say(f"    ({time.monotonic() - began:.0f} s)")


def _verdict(figure: Figure) -> str:
    if figure.met is None:
        return ""
    return f"; target {figure.target}{'' if figure.met else ' MISSED'}"


def _text(rows: list[Row], *, quick: bool, seconds: float) -> str:
    order = {figure.what: number for number, (_, figure) in reversed(list(enumerate(rows)))}
    rows = sorted(rows, key=lambda row: order[row[1].what])
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"Measured {time.strftime('%Y-%m-%d')} in {seconds / 60:.0f} minutes"
        f"{' (--quick)' if quick else ''} with Python {platform.python_version()} on "
        f"{os.cpu_count()} cores, load {load} at the end.\n\n{table(rows)}\n"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
