"""What a map costs whoever saves and reads."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from django.db import connection, transaction

from benchmarks.figures import Figure, ratio
from benchmarks.filling import clear, make_people
from benchmarks.isolation import Place
from benchmarks.people.models import Bare, Mapped

PEOPLE = 200

Save = Callable[[Any], None]


def saving(place: Place) -> list[Figure]:
    """Compare ``save()`` of a mapped model with that of its twin, save by save in turn."""
    rounds = 5 if place.quick else 25
    make_people(Mapped, PEOPLE)
    make_people(Bare, PEOPLE)
    figures = []
    at_most = 1.30 if place.database == "postgres" else None
    for what, save, together, limit in (
        ("save() in an open transaction", _save, True, at_most),
        ("atomic() with one save() and its commit", _save_in_atomic, False, at_most),
        ("save() in autocommit", _save, False, 2.0),
        ("save(update_fields=…) with nothing mapped, open transaction", _note, True, 1.03),
        ("save(update_fields=…) with nothing mapped, autocommit", _note, False, 1.03),
    ):
        mapped, bare = _compare(save, rounds=rounds, together=together)
        figures.append(ratio(f"{what}, mapped : bare, µs", mapped, bare, at_most=limit))
    figures.append(_least())
    return figures


def _least() -> Figure:
    """What any statement more would cost, if it did nothing."""
    bare = Bare.objects.all()[0]
    with_one: list[float] = []
    without: list[float] = []
    with transaction.atomic():
        for number in range(400):
            turns = [(True, with_one), (False, without)]
            for more, times in turns if number % 2 else reversed(turns):
                began = perf_counter()
                bare.save()
                if more:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT 1")
                times.append((perf_counter() - began) * 1e6)
    what = "the limit: a bare save() and SELECT 1 : the save(), open transaction, µs"
    return ratio(what, with_one, without)


def _save(person: Any) -> None:
    person.visits += 1
    person.save()


def _note(person: Any) -> None:
    person.visits += 1
    person.save(update_fields=["visits"])


def _save_in_atomic(person: Any) -> None:
    with transaction.atomic():
        _save(person)


def _compare(save: Save, *, rounds: int, together: bool) -> tuple[list[float], list[float]]:
    """Return microseconds of mapped and bare saves, by round.

    Args:
        together: all saves of a round in one transaction, whose begin and end do not count.
    """
    pairs = list(zip(Mapped.objects.all(), Bare.objects.all(), strict=True))
    mapped: list[float] = []
    bare: list[float] = []
    for number in range(rounds + 1):
        clear()
        ours: list[float] = []
        theirs: list[float] = []
        if together:
            with transaction.atomic():
                _save_in_turn(pairs, save, ours, theirs)
        else:
            _save_in_turn(pairs, save, ours, theirs)
        if number:  # the first only warms up
            mapped.append(median(ours) * 1e6)
            bare.append(median(theirs) * 1e6)
    return mapped, bare


def _save_in_turn(
    pairs: list[tuple[Mapped, Bare]], save: Save, ours: list[float], theirs: list[float]
) -> None:
    for number, (one, other) in enumerate(pairs):
        # Each goes first as often as the other.
        turns = [(one, ours), (other, theirs)]
        for person, times in turns if number % 2 else reversed(turns):
            began = perf_counter()
            save(person)
            times.append(perf_counter() - began)


def reading(place: Place) -> list[Figure]:
    """Compare reading a mapped model with reading its twin."""
    rounds = 60 if place.quick else 400
    make_people(Mapped, PEOPLE)
    make_people(Bare, PEOPLE)
    times: dict[Any, list[float]] = {Mapped: [], Bare: []}
    for number in range(rounds):
        for model in (Mapped, Bare) if number % 2 else (Bare, Mapped):
            began = perf_counter()
            list(model.objects.all())
            times[model].append((perf_counter() - began) * 1e6)
    what = f"reading {PEOPLE} rows, mapped : bare, µs"
    return [ratio(what, times[Mapped], times[Bare], at_most=1.03)]
