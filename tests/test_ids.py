from __future__ import annotations

import os
import re
import select
import threading
from datetime import UTC, datetime

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from django_customerio import ids
from django_customerio.ids import is_ulid, new_ulid


def test_form() -> None:
    """A ULID is 26 characters of Crockford's alphabet, which lacks I, L, O and U."""
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", new_ulid())


def test_tells_the_time_as_the_specification_does() -> None:
    """The first ten characters are the milliseconds, by the specification's own example."""
    assert new_ulid(1469918176385)[:10] == "01ARYZ6S41"
    assert new_ulid(0)[:10] == "0000000000"
    assert new_ulid(2**48 - 1)[:10] == "7ZZZZZZZZZ"


def test_tells_the_present() -> None:
    """Without a time it tells now."""
    with time_machine.travel(datetime(2016, 7, 30, 22, 36, 16, 385_000, UTC), tick=False):
        ids._forget()
        assert new_ulid()[:10] == "01ARYZ6S41"
    ids._forget()


@pytest.mark.parametrize("milliseconds", [-1, 2**48])
def test_refuses_a_time_that_does_not_fit(milliseconds: int) -> None:
    """A time beyond 48 bits is refused, not wrapped around."""
    with pytest.raises(ValueError, match="milliseconds"):
        new_ulid(milliseconds)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_sorts_by_time(one: int, other: int) -> None:
    """Ids of different times sort as the times do."""
    if one != other:
        assert (new_ulid(one) < new_ulid(other)) == (one < other)


def test_ids_of_one_given_time_differ() -> None:
    """Many ids of the same given millisecond are all different."""
    assert len({new_ulid(1) for _ in range(1_000)}) == 1_000


def test_ascends() -> None:
    """In a process each id is greater than the one before, within a millisecond too."""
    made = [new_ulid() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_ascends_when_the_clock_goes_back() -> None:
    """A clock set back by an hour does not give lower ids."""
    ids._forget()
    with time_machine.travel(datetime(2026, 1, 1, 12, tzinfo=UTC)):
        before = new_ulid()
    with time_machine.travel(datetime(2026, 1, 1, 11, tzinfo=UTC)):
        after = new_ulid()
    assert after > before
    ids._forget()


def test_threads() -> None:
    """Threads get different ids, each thread ascending ones."""
    made: list[list[str]] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        made.append([new_ulid() for _ in range(2_000)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == sorted(one) for one in made)
    assert len({each for one in made for each in one}) == 16_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork_while_another_thread_makes_one() -> None:
    """A child forked in the midst of it neither hangs nor repeats its parent's ids."""
    new_ulid()
    reading, writing = os.pipe()
    with ids._last.lock:
        child = os.fork()
        if child == 0:  # pragma: no cover  # another process
            os.write(writing, b"".join(new_ulid().encode() for _ in range(100)))
            os._exit(0)
    ready, _, _ = select.select([reading], [], [], 10)
    if not ready:  # pragma: no cover  # only when broken
        os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read().decode()
    of_child = {text[start : start + 26] for start in range(0, len(text), 26)}
    assert len(of_child) == 100
    assert not of_child & {new_ulid() for _ in range(1_000)}


@pytest.mark.parametrize("text", ["01HB4HBDKTFWYZCK01DMRSWRFD", "01hb4hbdktfwyzck01dmrswrfd"])
def test_recognises(text: str) -> None:
    """A ULID is one in capitals or not."""
    assert is_ulid(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01HB4HBDKTFWYZCK01DMRSWRF",
        "01HB4HBDKTFWYZCK01DMRSWRFDA",
        "01HB4HBDKTFWYZCK01DMRSWRFD\n",
        "01HB4HBDKTFWYZCK01DMRSWRFI",
        "01HB4HBDKTFWYZCK01DMRSWRFU",
        "81HB4HBDKTFWYZCK01DMRSWRFD",
        "01HB4HBDKTFWYZC\N{KELVIN SIGN}01DMRSWRFD",
        "01HB4HBDKTFWYZCK01DMR\N{LATIN SMALL LETTER LONG S}WRFD",
        "7f000001-0000-4000-8000-000000000000",
    ],
)
def test_does_not_recognise(text: str) -> None:
    """Wrong lengths, letters, look-alikes and more than 128 bits are no ULID."""
    assert not is_ulid(text)


@given(st.integers(0, 2**48 - 1))
def test_recognises_its_own(milliseconds: int) -> None:
    """Whatever is made is recognised."""
    assert is_ulid(new_ulid(milliseconds))
