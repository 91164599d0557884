from __future__ import annotations

import calendar
import enum
import json
import math
import zoneinfo
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from django.db import models
from django.test import override_settings
from django.utils import timezone as django_timezone
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_customerio.conversion import date_seconds, encode, size_of, to_json, unix_seconds
from django_customerio.exceptions import InvalidAttribute, InvalidMessage, MessageTooLarge

SECRET = "s3cr3t-value"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=30,
)
zones = st.sampled_from(sorted(zoneinfo.available_timezones() - {"localtime"}))
datetimes = st.datetimes(datetime(1800, 1, 2), datetime(9999, 12, 30))


class Plan(models.TextChoices):
    FREE = "free", "Free of charge"


class Level(models.IntegerChoices):
    HIGH = 3


class Colour(enum.Enum):
    RED = "red"


class Shout(str):
    """A string that prints as something else."""

    def __str__(self) -> str:
        return "changed"


class Count(int):
    """A number that prints as something else."""

    def __repr__(self) -> str:
        return "changed"


class Moment(datetime):
    """A datetime of some other package."""


class Day(date):
    """A date of some other package."""


@dataclass
class Item:
    sku: str
    price: Decimal


Point = namedtuple("Point", "x y")


@given(json_values)
def test_json_goes_through_as_it_is(value: Any) -> None:
    """What JSON can say comes out byte by byte as it went in."""
    text = encode(to_json(value))
    assert json.loads(text) == value
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(json_values)
def test_size(value: Any) -> None:
    """The size counted is the number of bytes that go over the wire."""
    text = encode(value)
    assert size_of(text) == len(text.encode("utf-8"))


@given(datetimes, zones, st.integers(0, 1))
def test_aware_time(naive: datetime, zone: str, fold: int) -> None:
    """An aware time becomes its Unix seconds, in every zone and for both readings."""
    aware = naive.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)
    assert unix_seconds(aware) == calendar.timegm(aware.utctimetuple())


@given(datetimes, zones, st.integers(0, 1), st.booleans())
def test_naive_time(naive: datetime, zone: str, fold: int, use_tz: bool) -> None:
    """A naive time is one of settings.TIME_ZONE, with USE_TZ or without."""
    naive = naive.replace(fold=fold)
    meant = naive.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    with override_settings(TIME_ZONE=zone, USE_TZ=use_tz):
        assert unix_seconds(naive) == calendar.timegm(meant.utctimetuple())


@override_settings(TIME_ZONE="Europe/Berlin")
def test_time_that_occurs_twice_or_never() -> None:
    """A repeated hour is told apart by fold; a skipped one has the offset before it."""
    twice = datetime(2026, 10, 25, 2, 30)
    assert unix_seconds(twice) == calendar.timegm((2026, 10, 25, 0, 30, 0))
    assert unix_seconds(twice.replace(fold=1)) == calendar.timegm((2026, 10, 25, 1, 30, 0))
    never = datetime(2026, 3, 29, 2, 30)
    assert unix_seconds(never) == calendar.timegm((2026, 3, 29, 1, 30, 0))


@override_settings(TIME_ZONE="Europe/Berlin")
def test_naive_time_does_not_depend_on_the_request() -> None:
    """The zone that a request activated does not change what a naive time means."""
    with django_timezone.override("Asia/Tokyo"):
        assert unix_seconds(datetime(2026, 1, 1)) == calendar.timegm((2025, 12, 31, 23, 0, 0))


def test_seconds_are_rounded_down() -> None:
    """Fractions are cut off towards the past, before 1970 as well."""
    assert unix_seconds(datetime(1970, 1, 1, 0, 0, 1, 999_999, UTC)) == 1
    assert unix_seconds(datetime(1969, 12, 31, 23, 59, 59, 1, UTC)) == -1
    assert unix_seconds(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)) == 253402300799


@pytest.mark.parametrize("offset", [-14, 14])
def test_extreme_times(offset: int) -> None:
    """The first and last datetime convert in zones where UTC would not hold them."""
    zone = timezone(timedelta(hours=offset))
    for extreme, seconds in ((datetime.min, -62135596800), (datetime.max, 253402300799)):
        assert unix_seconds(extreme.replace(tzinfo=zone)) == seconds - offset * 3600


def test_vector_v1_and_v2() -> None:
    """The times of the fact sheet's vectors V1 (UTC) and V2 (UTC-5)."""
    moment = datetime(2026, 1, 2, 3, 4, 5)
    assert to_json({"joined": moment}) == {"joined": 1767323045}
    assert to_json(moment.replace(tzinfo=timezone(timedelta(hours=-5)))) == 1767341045


@given(st.dates())
def test_date(day: date) -> None:
    """A date becomes midnight UTC."""
    assert date_seconds(day) == calendar.timegm((day.year, day.month, day.day, 0, 0, 0))
    assert to_json(day) == date_seconds(day)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("9.00"), 9),
        (Decimal("-0"), 0),
        (Decimal("23.45"), 23.45),
        (Decimal("1E+3"), 1000),
        (Decimal("1E-400"), 0.0),
        (2**70, 2**70),
        (Fraction(1, 4), 0.25),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ip_address("::1"), "::1"),
        (time(3, 4), "03:04:00"),
        (Moment(1970, 1, 2, 1, tzinfo=UTC), 90000),
        (Day(1970, 1, 2), 86400),
        (timedelta(minutes=1), 60),
        (timedelta(days=-1, milliseconds=500), -86399.5),
        (Plan.FREE, "free"),
        (Level.HIGH, 3),
        (Colour.RED, "red"),
        (gettext_lazy("Yes"), "Yes"),
        (lazystr("é"), "é"),
        (mark_safe("<b>"), "<b>"),
        (Shout("kept"), "kept"),
        (Count(7), 7),
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        (Item("a", Decimal("1.5")), {"sku": "a", "price": 1.5}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (UserDict({"a": date(1970, 1, 2)}), {"a": 86400}),
        ({1: "a", UUID(int=0): "b"}, {"1": "a", str(UUID(int=0)): "b"}),
        (
            {Plan.FREE: 1, Level.HIGH: 2, Shout("k"): 3, "é": 4},
            {"free": 1, "3": 2, "k": 3, "é": 4},
        ),
        ("nul \0 inside", "nul \0 inside"),
    ],
)
def test_what_python_code_holds(value: Any, expected: Any) -> None:
    """Each of the documented types becomes the documented JSON, of JSON's own types."""
    result = to_json(value)
    assert result == expected
    assert type(result) is type(expected)
    assert json.loads(encode(result)) == expected


def test_exact_types() -> None:
    """Subclasses do not get through: what comes out is exactly str, int, float."""
    assert type(to_json(Shout("a"))) is str
    assert type(to_json(Count(1))) is int
    assert [type(key) for key in to_json({Shout("k"): 1})] == [str]  # type: ignore[union-attr]


def test_set_of_many_types_has_an_order() -> None:
    """A set that cannot be sorted has the same order in every process."""
    assert to_json({"a", 1, None, (1, 2)}) == ["a", 1, [1, 2], None]


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E+1000000"),
        SECRET.encode(),
        object(),
        object,
        Item,
        iter([SECRET]),
        lambda: SECRET,
        1j,
        f"{SECRET} \ud800",
        Shout("\udfff"),
        {f"{SECRET}\ud800": 1},
        {1: "a", "1": "b"},
        {1.5: "a"},
        {True: "a"},
        {None: "a"},
        {10**400: "a"},
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: {"items": [0, {"price": v}]}], ids=["bare", "nested"]
)
def test_what_is_refused(value: Any, wrap: Any) -> None:
    """What JSON cannot say is refused; the error names the place and no value."""
    with pytest.raises(InvalidAttribute) as caught:
        to_json(wrap(value), field="extra")
    expected = "extra" if wrap(1) == 1 else "extra.items[1].price"
    assert caught.value.field == expected
    assert f'"{expected}"' in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_path_starts_with_the_key() -> None:
    """Without a name of its own, the place starts with the first key."""
    with pytest.raises(InvalidAttribute, match=r'"items\[2\]\.price" cannot be sent') as caught:
        to_json({"items": [1, 2, {"price": math.nan}]})
    assert caught.value.field == "items[2].price"


def test_value_that_contains_itself() -> None:
    """An endless list is refused at once."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidAttribute, match="nested too deeply"):
        to_json(endless)


def test_value_that_grows_without_end() -> None:
    """A small object that writes out to an enormous one is refused at once."""
    bomb: list[Any] = []
    for _ in range(60):
        bomb = [bomb, bomb]
    with pytest.raises(MessageTooLarge, match="32,000"):
        to_json({"bomb": bomb})


def test_no_more_values_than_fit() -> None:
    """The most values that can fit a message are taken, and not one more."""
    assert to_json([1] * 16_000) == [1] * 16_000
    with pytest.raises(MessageTooLarge):
        to_json([1] * 16_001)


@pytest.mark.parametrize(
    "value", [math.nan, b"", {"a": {1, 2}}, [10**5000], "\ud800", {"\udc00": 1}]
)
def test_encode_refuses(value: Any) -> None:
    """Text is only made of what JSON has: no NaN, no bytes, no half characters."""
    with pytest.raises(InvalidMessage):
        encode(value)


def test_encode_refuses_endless() -> None:
    """An endless structure is an error of ours, not a crash."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidMessage):
        encode(endless)


def test_encode_is_compact() -> None:
    """No spaces, characters as they are, control characters escaped."""
    assert encode({"a": [1, "é\0\n"]}) == '{"a":[1,"é\\u0000\\n"]}'
