"""What was measured, and the table it is told in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    """None where the design names no target."""


def ratio(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    digits: int = 2,
) -> Figure:
    """Tell two series of the same interleaved rounds as one ratio, with both medians."""
    value = median(ours) / median(theirs)
    return Figure(
        what=what,
        measured=f"{value:.{digits}f} x ({_number(median(ours))} : {_number(median(theirs))})",
        target=_target(at_most, at_least, " x"),
        met=_is_met(value, at_most, at_least),
    )


def rate(what: str, rates: Sequence[float], *, at_least: float | None = None) -> Figure:
    """Tell how many a second, as the median of the rounds with the slowest and fastest."""
    value = median(rates)
    return Figure(
        what=what,
        measured=f"{value:,.0f} /s ({min(rates):,.0f} … {max(rates):,.0f})",
        target=_target(None, at_least, " /s"),
        met=_is_met(value, None, at_least),
    )


def amount(
    what: str, value: float, unit: str, *, at_most: float | None = None, note: str = ""
) -> Figure:
    """Tell one number."""
    return Figure(
        what=what,
        measured=f"{_number(value)} {unit}{f' ({note})' if note else ''}",
        target=_target(at_most, None, f" {unit}"),
        met=_is_met(value, at_most, None),
    )


def absent(what: str, reason: str) -> Figure:
    """Say that something was not measured, and why."""
    return Figure(what=what, measured=f"not measured: {reason}")


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which *share* of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def table(rows: Iterable[tuple[str, Figure]]) -> str:
    """Return the lines of a Markdown table of ``(database, figure)`` pairs."""
    words = {True: "yes", False: "**no**", None: ""}
    lines = ["| what | database | measured | target | met? |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {figure.what} | {database} | {figure.measured} | {figure.target} | "
        f"{words[figure.met]} |"
        for database, figure in rows
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _target(at_most: float | None, at_least: float | None, unit: str) -> str:
    if at_most is not None:
        return f"≤ {at_most:,g}{unit}"
    return f"≥ {at_least:,g}{unit}" if at_least is not None else ""


def _is_met(value: float, at_most: float | None, at_least: float | None) -> bool | None:
    if at_most is not None:
        return value <= at_most
    return value >= at_least if at_least is not None else None
