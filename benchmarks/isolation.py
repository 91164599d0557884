"""Each measurement runs in a process of its own, so that none warms or burdens another."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a measurement takes place, and how long it may be."""

    database: str
    name: str
    url: str
    quick: bool = False
    large: int = 0
    """Rows of the large backlog; 0 for none."""
    rival: str = ""
    """The Python that has the official client; empty where there is none."""


class MeasurementError(Exception):
    """A measurement raised; its traceback is the text."""


class Running:
    """A function that runs in a process of its own.

    Args:
        function: ``"package.module:name"``, imported there when Django is set up.
        place: its first argument.
        arguments: the others, by keyword.
    """

    def __init__(self, function: str, place: Place, **arguments: Any) -> None:
        self._mine, its = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_enter, args=(its, function, place, arguments))
        self._process.start()
        its.close()

    def result(self) -> Any:
        """Wait for what it returns.

        Raises:
            MeasurementError: it raised, or its process died.
        """
        try:
            good, value = self._mine.recv()
        except EOFError:
            good, value = False, "the process died"
        self._process.join()
        if not good:
            raise MeasurementError(value)
        return value


def measure(function: str, place: Place, **arguments: Any) -> Any:
    """Run a function in a process of its own and return what it returns."""
    return Running(function, place, **arguments).result()


def peak_memory() -> float:
    """Return the most memory this process had so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def set_up(place: Place) -> None:
    """Prepare Django in this process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    os.environ["BENCH_DATABASE"] = place.database
    os.environ["BENCH_NAME"] = place.name
    os.environ["BENCH_URL"] = place.url
    import django

    django.setup()


def _enter(control: Connection, function: str, place: Place, arguments: dict[str, Any]) -> None:
    try:
        set_up(place)
        module, _, name = function.partition(":")
        value = getattr(importlib.import_module(module), name)(place, **arguments)
    except BaseException:
        control.send((False, traceback.format_exc()))
    else:
        control.send((True, value))
    finally:
        from django.db import connections

        connections.close_all()
