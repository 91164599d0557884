"""ULIDs: the ids by which Customer.io recognises an event that it already has.

A ULID is 48 bits of milliseconds and 80 random bits in Crockford's base 32, 26
characters that sort by the time they were made. https://github.com/ulid/spec
"""

from __future__ import annotations

import os
import re
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# Two characters at a time: half as many steps as one by one.
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))
_LATEST_MS = (1 << 48) - 1
# ASCII, or the Kelvin sign would pass for a "K" where case is ignored.
_is_ulid = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE | re.ASCII).fullmatch


class _Last:
    """The number that was given out last by this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.number = 0


_last = _Last()


def _forget() -> None:
    # A forked child shares its parent's number, and a lock that no thread will release.
    global _last
    _last = _Last()


os.register_at_fork(after_in_child=_forget)


def new_ulid(timestamp_ms: int | None = None) -> str:
    """A new ULID, greater than all that this process made before.

    Safe with threads and after a fork. A clock that goes backwards does not matter: until
    it has caught up, ids continue from the last one.

    Args:
        timestamp_ms: Milliseconds since 1970 to be told by the id instead of now; such an
            id is unique, but not ordered among others of the same millisecond.

    Raises:
        ValueError: If *timestamp_ms* does not fit the 48 bits it has.
    """
    if timestamp_ms is not None:
        if not 0 <= timestamp_ms <= _LATEST_MS:
            raise ValueError("timestamp_ms must be milliseconds since 1970, below 2**48")
        return _text(timestamp_ms << 80 | _random())
    milliseconds = time.time_ns() // 1_000_000
    last = _last
    with last.lock:
        if milliseconds > last.number >> 80:
            last.number = milliseconds << 80 | _random()
        else:
            last.number += 1
        number = last.number
    return _text(number)


def is_ulid(text: str) -> bool:
    """Whether *text* is a ULID, in capitals or not."""
    return _is_ulid(text) is not None


def _random() -> int:
    return int.from_bytes(os.urandom(10))


def _text(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
