"""What there is to say about a person, compared with what was last accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_customerio.exceptions import InvalidAttribute, InvalidMessage
from django_customerio.fingerprints import Hasher, Hashes
from django_customerio.identifiers import Identifiers
from django_customerio.mapping import Reading, registry
from django_customerio.states import State, render_state

from .shop.models import Customer

VALUES = st.none() | st.booleans() | st.integers() | st.text("abcü🦄", max_size=20)


def render(attributes: dict[str, Any], known: Hashes | None = None, **more: Any) -> State:
    customers = registry.get(Customer)
    assert customers
    reading = Reading(
        person=Identifiers("id", "42"), attributes=attributes, at=1_700_000_000_999, **more
    )
    return render_state(customers, reading, known, Hasher())


def told(state: State) -> dict[str, Any] | None:
    return None if state.text is None else json.loads(state.text)["attributes"]


@given(first=st.dictionaries(st.sampled_from("abcdef"), VALUES))
def test_the_first_time_everything_with_a_value_is_told(first):
    """And the second time nothing."""
    state = render(first)
    assert told(state) == {name: value for name, value in first.items() if value is not None}
    assert render(first, state.hashes).text is None


@given(
    first=st.dictionaries(st.sampled_from("abcdef"), VALUES),
    second=st.dictionaries(st.sampled_from("abcdef"), VALUES),
)
def test_what_is_told_makes_both_sides_equal(first, second):
    """Applying what differs to what was told gives what is."""
    over_there = told(render(first)) or {}
    state = render(second, render(first).hashes)
    over_there.update(told(state) or {})
    for name, value in second.items():
        assert over_there.get(name) == value


def test_the_message_is_as_documented():
    """With the moment of the reading, in seconds."""
    assert json.loads(render({"name": "ü"}).text or "") == {
        "type": "person",
        "action": "identify",
        "identifiers": {"id": "42"},
        "attributes": {"name": "ü"},
        "timestamp": 1_700_000_000,
    }


def test_what_could_not_be_read_keeps_what_is_known_of_it():
    """So that it is compared again once it can be."""
    known = render({"a": 1, "b": 2}).hashes
    error = InvalidAttribute("b could not be read", field="b")
    state = render({"a": 3}, known, errors={"b": error})
    assert told(state) == {"a": 3}
    assert state.hashes["b"] == known["b"]
    assert render({"a": 3, "b": 2}, state.hashes).text is None


def test_what_cannot_be_encoded_is_left_out():
    """A lone surrogate is no text; the others are told."""
    state = render({"a": "\ud800", "b": 2})
    assert told(state) == {"b": 2}
    assert list(state.errors) == ["a"]


def test_a_value_may_have_1000_bytes_without_its_quotes():
    """And not one more."""
    state = render({"fits": "ü" * 500, "long": "ü" * 500 + "x", "list": ["x" * 997]})
    assert told(state) == {"fits": "ü" * 500}
    assert sorted(state.errors) == ["list", "long"]
    assert "üüü" not in str(state.errors["long"])


def test_an_error_of_something_known_keeps_its_hash():
    """Grown too long since it was told, say."""
    known = render({"a": "short"}).hashes
    assert render({"a": "x" * 2000}, known).hashes == known


@pytest.mark.parametrize(
    ("name", "before", "after", "goes"),
    [
        ("unsubscribed", False, True, True),
        ("unsubscribed", True, False, False),
        ("unsubscribed", True, None, False),
        ("cio_subscription_preferences.topics.topic_1", True, False, True),
        ("cio_subscription_preferences.topics.topic_1", False, True, False),
        ("frequency", "daily", "weekly", True),
    ],
)
def test_of_two_way_attributes_only_the_sites_own_change_goes(name, before, after, goes):
    """And never one that opts somebody in again."""
    elsewhere = {"owners_elsewhere": frozenset({name})}
    first = render({name: before}, **elsewhere)
    assert told(first) == {}
    second = render({name: after}, first.hashes, **elsewhere)
    assert (told(second) == {name: after}) is goes
    assert (second.withheld == [name]) is not goes
    assert render({name: after}, second.hashes, **elsewhere).text is None


def test_more_than_customer_io_takes_of_one_person_is_refused():
    """With the name of the map and the cure."""
    with pytest.raises(InvalidMessage, match=r"shop\.customer .*map fewer"):
        render({f"attribute_{n}": "x" * 1000 for n in range(40)})
