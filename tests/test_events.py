from __future__ import annotations

import enum
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NewType, Optional, Union
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_customerio import events
from django_customerio.events import Event, registered_events
from django_customerio.exceptions import InvalidMessage

if TYPE_CHECKING:
    from fractions import Fraction

SECRET = "s3cr3t-value"
Sku = NewType("Sku", str)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    price: Decimal


class Node:
    """Stands for ``type X = …`` of Python 3.12."""

    __value__ = int
    __hash__ = None  # type: ignore[assignment]


class SubscriptionStarted(Event):
    plan: Literal["free", "pro", "enterprise"]
    amount: Decimal


class Everything(Event):
    name = "Everything there is"
    text: str = ""
    flag: bool = False
    count: int = 0
    ratio: float = 0
    money: Decimal = Decimal(0)
    key: UUID = UUID(int=0)
    moment: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    day: date = date(1970, 1, 2)
    hour: time = time(3, 4)
    span: timedelta = timedelta(minutes=1)
    colour: Colour = Colour.RED
    number: Literal[1, 2] = 1
    maybe: str | None = None
    older: Optional[int] = None  # noqa: UP045
    oldest: Union[int, str] = 1  # noqa: UP007
    nothing: None = None
    items: list[int] = field(default_factory=list)
    raw: list = field(default_factory=list)  # type: ignore[type-arg]
    many: tuple[int, ...] = ()
    pair: tuple[int, str] = (1, "a")
    unique: set[str] = field(default_factory=set)
    fixed: frozenset[int] = frozenset()
    some: Sequence[int] = ()
    named: dict[str, int] = field(default_factory=dict)
    mapped: Mapping[str, list[int]] = field(default_factory=dict)
    loose: dict = field(default_factory=dict)  # type: ignore[type-arg]
    line: Line | None = None
    lines: list[Line] = field(default_factory=list)
    sku: Sku = Sku("a")
    noted: Annotated[int, "a note"] = 1
    anything: Any = None
    constant: ClassVar[int] = 5


@pytest.fixture(autouse=True)
def catalogue() -> Iterator[None]:
    """Events that a test defines are forgotten after it."""
    before = dict(events._catalogue)
    yield
    events._catalogue.clear()
    events._catalogue.update(before)


def test_data() -> None:
    """An event knows its name, and gives its data as JSON."""
    event = SubscriptionStarted(plan="pro", amount=Decimal("9.00"))
    assert SubscriptionStarted.name == event.name == "subscription_started"
    assert event.data() == {"plan": "pro", "amount": 9}


def test_defaults() -> None:
    """Every type that JSON can say may be annotated; class variables are no data."""
    assert Everything().data() == {
        "text": "",
        "flag": False,
        "count": 0,
        "ratio": 0,
        "money": 0,
        "key": str(UUID(int=0)),
        "moment": 1767323045,
        "day": 86400,
        "hour": "03:04:00",
        "span": 60,
        "colour": "red",
        "number": 1,
        "maybe": None,
        "older": None,
        "oldest": 1,
        "nothing": None,
        "items": [],
        "raw": [],
        "many": [],
        "pair": [1, "a"],
        "unique": [],
        "fixed": [],
        "some": [],
        "named": {},
        "mapped": {},
        "loose": {},
        "line": None,
        "lines": [],
        "sku": "a",
        "noted": 1,
        "anything": None,
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("text", mark_safe("<b>"), "<b>"),
        ("text", gettext_lazy("Yes"), "Yes"),
        ("ratio", 1.5, 1.5),
        ("oldest", "a", "a"),
        ("raw", [1, "a", None], [1, "a", None]),
        ("items", [1, 2], [1, 2]),
        ("many", (1, 2, 3), [1, 2, 3]),
        ("unique", {"b", "a"}, ["a", "b"]),
        ("fixed", frozenset({1}), [1]),
        ("some", [1], [1]),
        ("named", {"a": 1}, {"a": 1}),
        ("mapped", types.MappingProxyType({"a": [1]}), {"a": [1]}),
        ("loose", {"a": [None]}, {"a": [None]}),
        ("line", Line("a", Decimal("1.5")), {"sku": "a", "price": 1.5}),
        ("lines", [Line("a", Decimal("1.5"))], [{"sku": "a", "price": 1.5}]),
        ("anything", {"a": [Decimal("9")]}, {"a": [9]}),
    ],
)
def test_what_fits(name: str, value: Any, said: Any) -> None:
    """A value of the annotated type becomes JSON."""
    assert Everything(**{name: value}).data()[name] == said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 5),
        ("text", None),
        ("flag", 1),
        ("count", True),
        ("count", 1.0),
        ("count", SECRET),
        ("ratio", True),
        ("ratio", SECRET),
        ("ratio", math.nan),
        ("money", 1.5),
        ("money", Decimal("NaN")),
        ("key", str(UUID(int=0))),
        ("moment", date(2026, 1, 2)),
        ("moment", SECRET),
        ("day", datetime(2026, 1, 2, tzinfo=UTC)),
        ("hour", "03:04"),
        ("span", 60),
        ("colour", "red"),
        ("number", 3),
        ("number", True),
        ("maybe", 5),
        ("oldest", None),
        ("nothing", 0),
        ("items", [1, SECRET]),
        ("items", (1, 2)),
        ("raw", SECRET),
        ("many", (1, SECRET)),
        ("many", [1]),
        ("pair", (1,)),
        ("pair", (1, 2)),
        ("pair", [1, "a"]),
        ("unique", ["a"]),
        ("some", SECRET),
        ("named", {"a": SECRET}),
        ("named", {1: 1}),
        ("named", [1]),
        ("loose", [1]),
        ("line", {"sku": "a"}),
        ("line", Line("a", Decimal("NaN"))),
        ("lines", [SECRET]),
        ("anything", SECRET.encode()),
        ("anything", f"{SECRET}\ud800"),
    ],
)
def test_what_does_not_fit(name: str, value: Any) -> None:
    """A value of another type is refused at construction; the error names the field only."""
    with pytest.raises(InvalidMessage) as caught:
        Everything(**{name: value})
    assert (caught.value.field or "").startswith(f"Everything.{name}")
    assert f"Everything.{name}" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_error_says_what_is_accepted() -> None:
    """The error lists what a Literal accepts."""
    with pytest.raises(InvalidMessage, match="one of 'free', 'pro', 'enterprise'") as caught:
        SubscriptionStarted(plan=SECRET, amount=Decimal(1))  # type: ignore[arg-type]
    assert caught.value.field == "SubscriptionStarted.plan"
    with pytest.raises(InvalidMessage, match="each item a whole number"):
        Everything(items=["a"])  # type: ignore[list-item]


def test_nested_place() -> None:
    """What JSON cannot say inside of a field is named by its path."""
    with pytest.raises(InvalidMessage) as caught:
        Everything(lines=[Line("a", Decimal(1)), Line("b", Decimal("NaN"))])
    assert caught.value.field == "Everything.lines[1].price"


def test_constructor() -> None:
    """Fields are keyword-only, all must be given, none may be unknown."""
    with pytest.raises(TypeError):
        SubscriptionStarted("pro", Decimal(1))  # type: ignore[misc]
    with pytest.raises(TypeError):
        SubscriptionStarted(plan="pro")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        SubscriptionStarted(plan="pro", amount=Decimal(1), extra=1)  # type: ignore[call-arg]


def test_frozen() -> None:
    """An event says the same for ever, whatever becomes of what it was made of."""
    items = [1]
    event = Everything(items=items)
    items.append(2)
    event.data()["items"] = None
    assert event.data()["items"] == [1]
    with pytest.raises(FrozenInstanceError):
        event.text = "b"  # type: ignore[misc]


def test_repr_and_equality() -> None:
    """Events are equal by value; their repr, which ends up in logs, shows none."""
    event = SubscriptionStarted(plan="pro", amount=Decimal(1))
    assert event == SubscriptionStarted(plan="pro", amount=Decimal(1))
    assert event != SubscriptionStarted(plan="pro", amount=Decimal(2))
    assert repr(event) == "<SubscriptionStarted>"


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("Renewed", "renewed"),
        ("PDFOpened", "pdf_opened"),
        ("OrderV2Placed", "order_v2_placed"),
        ("VisitedFAQ", "visited_faq"),
        ("already_small", "already_small"),
    ],
)
def test_names(class_name: str, name: str) -> None:
    """The name is that of the class, in small letters with underscores."""
    cls = type(class_name, (Event,), {})
    assert cls.name == name
    assert registered_events()[name] is cls


def test_name_of_ones_own() -> None:
    """The name can be set, spaces around it are removed, and it is not inherited."""
    assert Everything.name == "Everything there is"
    assert type("A", (Event,), {"name": " padded "}).name == "padded"
    assert type("Child", (Everything,), {}).name == "child"


@pytest.mark.parametrize("name", ["x" * 101, " ", 5, "a\0"], ids=repr)
def test_bad_names(name: Any) -> None:
    """A name that Customer.io does not take is refused at definition."""
    with pytest.raises(ImproperlyConfigured, match="The event A"):
        type("A", (Event,), {"name": name})


def test_names_are_unique() -> None:
    """Two events of one name are refused, and the error names both."""
    with pytest.raises(ImproperlyConfigured, match="subscription_started") as caught:
        type("Other", (Event,), {"name": "subscription_started"})
    assert "SubscriptionStarted" in str(caught.value)
    assert "Other" in str(caught.value)


def test_same_class_imported_again() -> None:
    """A module that is imported again replaces its events."""
    again = type(
        "SubscriptionStarted",
        (Event,),
        {"__module__": __name__, "__qualname__": "SubscriptionStarted"},
    )
    assert registered_events()["subscription_started"] is again


def test_catalogue() -> None:
    """The catalogue lists every event by name, and cannot be changed from outside."""
    names = list(registered_events())
    assert names == sorted(names)
    assert registered_events()["subscription_started"] is SubscriptionStarted
    with pytest.raises(TypeError):
        registered_events()["a"] = Event  # type: ignore[index]


def test_abstract() -> None:
    """An abstract event holds fields for others and is none itself."""

    class Purchase(Event, abstract=True):
        total: Decimal

    class Bought(Purchase):
        sku: str

    assert Bought(total=Decimal(5), sku="a").data() == {"total": 5, "sku": "a"}
    assert "purchase" not in registered_events()
    for kind in (Purchase, Event):
        with pytest.raises(TypeError, match="subclasses"):
            kind(**({"total": Decimal(5)} if kind is Purchase else {}))


def test_post_init() -> None:
    """A subclass may check more than types."""

    class Paid(Event):
        amount: Decimal

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.amount < 0:
                raise ValueError("negative")

    assert Paid(amount=Decimal(1)).data() == {"amount": 1}
    with pytest.raises(ValueError, match="negative"):
        Paid(amount=Decimal(-1))


@pytest.mark.parametrize("taken", ["name", "data"])
def test_taken_fields(taken: str) -> None:
    """A field cannot have the name of what every event has."""
    with pytest.raises(ImproperlyConfigured, match=f'"{taken}"'):
        type("Taken", (Event,), {"__annotations__": {taken: "str"}, "__module__": __name__})


@pytest.mark.parametrize("annotation", [bytes, object.__class__, complex, "list[bytes]", Iterator])
def test_types_that_json_cannot_say(annotation: Any) -> None:
    """An annotation without JSON is refused at definition, naming the field."""
    with pytest.raises(ImproperlyConfigured, match=r"Wrong\.what"):
        type("Wrong", (Event,), {"__annotations__": {"what": annotation}, "__module__": __name__})


def test_name_that_is_not_there() -> None:
    """An annotation that is imported for the type checker only is an error with a cure."""

    class Divided(Event):
        share: Fraction

    with pytest.raises(ImproperlyConfigured, match=r'Divided.*"Fraction".*Import it'):
        Divided(share=1)  # type: ignore[arg-type]


def test_name_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An annotation may name what is defined further down in the module."""

    class Late(Event):
        what: Later  # type: ignore[name-defined]  # noqa: F821

    monkeypatch.setattr(sys.modules[__name__], "Later", int, raising=False)
    assert Late(what=1).data() == {"what": 1}
    with pytest.raises(InvalidMessage):
        Late(what="a")


def test_alias_of_a_type() -> None:
    """``type X = …`` is looked through."""
    cls = type("Aliased", (Event,), {"__annotations__": {"what": Node()}})
    assert cls(what=1).data() == {"what": 1}
    with pytest.raises(InvalidMessage):
        cls(what="a")


def test_empty_tuple() -> None:
    """Even the empty tuple can be annotated."""
    cls = type("Bare", (Event,), {"__annotations__": {"what": tuple[()]}})
    assert cls(what=()).data() == {"what": []}
    with pytest.raises(InvalidMessage):
        cls(what=(1,))


def test_object() -> None:
    """``object`` takes whatever JSON can say."""
    cls = type("Open", (Event,), {"__annotations__": {"what": object}})
    assert cls(what=[1]).data() == {"what": [1]}
