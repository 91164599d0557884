from __future__ import annotations

import calendar
import math
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from django.apps.registry import Apps
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import Storage
from django.db import DatabaseError, models
from django.db.models import F, Value
from django.db.models.functions import Concat, Now
from django.test import override_settings
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_customerio import attributes as attrs
from django_customerio.exceptions import InvalidAttribute

from .shop.models import Customer, Plan, Seat, Subscription

SECRET = "s3cr3t-value"
registry = Apps()


class Plans(models.TextChoices):
    FREE = "free", "Free of charge"
    PRO = "pro", "Professional"


class Levels(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class Flag(Enum):
    ON = True


class Addressed(Storage):
    """A storage with addresses; those of signed files have a query."""

    def url(self, name: str | None) -> str:
        if name == "nowhere":
            raise NotImplementedError
        return f"https://files.e.com/{name}" + ("?signature=x" if name == "signed" else "")


class Country:
    """What a custom field makes of its column."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __str__(self) -> str:
        return self.code


class CountryField(models.CharField):  # type: ignore[type-arg]
    def to_python(self, value: Any) -> Any:
        return value if isinstance(value, Country) else Country(value)


class StrangeField(models.Field):  # type: ignore[type-arg]
    """Extends none of Django's fields."""


class ArrayField(models.Field):  # type: ignore[type-arg]
    """Stands for PostgreSQL's, which needs a driver to be imported."""

    def __init__(self, base_field: models.Field[Any, Any], **options: Any) -> None:
        self.base_field = base_field
        super().__init__(**options)


class RangeField(models.Field):  # type: ignore[type-arg]
    """Stands for PostgreSQL's."""


class IntegerRangeField(RangeField):
    """Extends it, as PostgreSQL's does."""


class HStoreField(models.Field):  # type: ignore[type-arg]
    """Stands for PostgreSQL's."""


class Base(models.Model):
    class Meta:
        abstract = True
        apps = registry
        app_label = "attributes"


class Company(Base):
    name = models.CharField(max_length=50)
    code = models.SlugField(unique=True)
    founded = models.DateField(null=True)

    def motto(self) -> str:
        return f"We are {self.name}"


class Client(Base):
    uuid = models.UUIDField(primary_key=True)
    name = models.CharField(max_length=50)
    email = models.EmailField()
    joined = models.DateTimeField(null=True)
    born = models.DateField(null=True)
    wakes = models.TimeField(null=True)
    trial = models.DurationField(null=True)
    visits = models.IntegerField(default=0)
    score = models.FloatField(default=0)
    credit = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal(0))
    active = models.BooleanField(default=True)
    plan = models.CharField(max_length=10, choices=Plans)
    level = models.IntegerField(choices=Levels, default=1)
    settings = models.JSONField(default=dict)
    photo = models.ImageField(storage=Addressed())
    address = models.GenericIPAddressField(null=True)
    secret = models.BinaryField(null=True)
    country = CountryField(max_length=2)
    strange = StrangeField()
    company = models.ForeignKey(Company, null=True, on_delete=models.CASCADE)
    by_code = models.ForeignKey(
        Company, null=True, on_delete=models.CASCADE, to_field="code", related_name="+"
    )
    friends = models.ManyToManyField("self")
    doubled = models.GeneratedField(
        expression=F("visits") * 2, output_field=models.BigIntegerField(), db_persist=True
    )
    with__marks = "odd"
    nothing = None

    @property
    def initials(self) -> str:
        return self.name[:1]

    @property
    def broken(self) -> str:
        raise ValueError(SECRET)

    @property
    def gone(self) -> str:
        raise Company.DoesNotExist(SECRET)

    @property
    def cut(self) -> str:
        raise DatabaseError(SECRET)

    @property
    def kind(self) -> type:
        return Country

    def greeting(self) -> str:
        return f"Hello {self.name}"

    def wipe(self) -> None:
        raise AssertionError("called")  # pragma: no cover

    wipe.alters_data = True  # type: ignore[attr-defined]

    async def later(self) -> str:
        return SECRET  # pragma: no cover


class Account(Base):
    owner = models.OneToOneField(Client, on_delete=models.CASCADE, related_name="account")


def client(**values: Any) -> Client:
    values.setdefault("uuid", UUID(int=1))
    return Client(**{"name": "Ann", "email": "a@e.com", **values})


# -- types ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        (attrs.String, "é", "é"),
        (attrs.String, "", ""),
        (attrs.String, mark_safe("<b>"), "<b>"),
        (attrs.String, gettext_lazy("Yes"), "Yes"),
        (attrs.String, UUID(int=1), str(UUID(int=1))),
        (attrs.String, 5, "5"),
        (attrs.String, 1.5, "1.5"),
        (attrs.String, Decimal("9.00"), "9.00"),
        (attrs.String, Decimal("1E+2"), "100"),
        (attrs.String, True, "true"),
        (attrs.String, False, "false"),
        (attrs.String, datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (attrs.String, date(2026, 1, 2), "2026-01-02"),
        (attrs.String, time(3, 4), "03:04:00"),
        (attrs.String, timedelta(days=1), "P1DT00H00M00S"),
        (attrs.String, Plans.PRO, "pro"),
        (attrs.String, Levels.HIGH, "2"),
        (attrs.String, Country("DE"), "DE"),
        (attrs.Integer, 2**70, 2**70),
        (attrs.Integer, Decimal("3.00"), 3),
        (attrs.Integer, 3.0, 3),
        (attrs.Integer, Levels.HIGH, 2),
        (attrs.Number, 1.5, 1.5),
        (attrs.Number, 5, 5),
        (attrs.Number, Decimal("23.45"), 23.45),
        (attrs.Number, Decimal("9.00"), 9),
        (attrs.Number, timedelta(minutes=1), 60),
        (attrs.Number, Levels.HIGH, 2),
        (attrs.Boolean, True, True),
        (attrs.Boolean, False, False),
        (attrs.Boolean, Flag.ON, True),
        (attrs.Timestamp, datetime(2026, 1, 2, 3, 4, 5), 1767323045),
        (attrs.Timestamp, datetime(1970, 1, 1, 5, tzinfo=timezone(timedelta(hours=5))), 0),
        (attrs.Timestamp, date(1970, 1, 2), 86400),
        (attrs.Timestamp, 1767323045, 1767323045),
        (attrs.Timestamp, 1767323045.9, 1767323045),
        (attrs.Timestamp, -1, -1),
        (attrs.Timestamp, datetime(9999, 12, 31, tzinfo=UTC), 253402214400),
        (attrs.Date, date(1970, 1, 2), 86400),
        (attrs.Date, datetime(1970, 1, 2, 23, 59), 86400),
        (attrs.JSON, {"a": [Decimal("1.5"), None]}, {"a": [1.5, None]}),
        (attrs.Attribute, Plans.PRO, "pro"),
        (attrs.List, ["a", 1, True, None], ["a", 1, True, None]),
        (attrs.List, {"b", "a"}, ["a", "b"]),
        (attrs.List, (Plans.PRO, date(1970, 1, 2)), ["pro", 86400]),
        (attrs.List, iter("ab"), ["a", "b"]),
        (attrs.Choice, Plans.PRO, "pro"),
        (attrs.Choice, Levels.HIGH, 2),
        (attrs.Choice, "legacy", "legacy"),
    ],
)
def test_what_a_type_takes(attribute: Any, value: Any, expected: Any) -> None:
    """Each type converts what Python code holds for it, to JSON's own types."""
    result = attribute("a").clean(value)
    assert result == expected
    assert type(result) is type(expected)


TYPES = [
    attrs.Attribute,
    attrs.Boolean,
    attrs.Choice,
    attrs.Date,
    attrs.Integer,
    attrs.JSON,
    attrs.List,
    attrs.Number,
    attrs.Range,
    attrs.String,
    attrs.Timestamp,
]


@pytest.mark.parametrize("attribute", TYPES)
def test_none(attribute: Any) -> None:
    """None stays None for each type: it removes the attribute."""
    assert attribute("a").clean(None) is None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (attrs.String, SECRET.encode()),
        (attrs.String, bytearray(SECRET.encode())),
        (attrs.String, [SECRET]),
        (attrs.String, {"a": SECRET}),
        (attrs.String, object()),
        (attrs.String, math.nan),
        (attrs.String, Decimal("NaN")),
        (attrs.String, Decimal("1E+1000000")),
        (attrs.String, client()),
        (attrs.String, Client),
        (attrs.String, Concat(F("name"), Value(SECRET))),
        (attrs.String, F("name") + Value(SECRET)),
        (attrs.String, f"{SECRET}\ud800"),
        (attrs.String, "x" * 1001),
        (attrs.String, "€" * 334),
        (attrs.String, lambda: SECRET),
        (attrs.Integer, "42"),
        (attrs.Integer, True),
        (attrs.Integer, 3.5),
        (attrs.Integer, Decimal("3.5")),
        (attrs.Integer, math.inf),
        (attrs.Integer, F("visits") + 1),
        (attrs.Integer, 10**1001),
        (attrs.Number, "1.5"),
        (attrs.Number, True),
        (attrs.Number, math.nan),
        (attrs.Number, Decimal("Infinity")),
        (attrs.Number, 1j),
        (attrs.Boolean, 1),
        (attrs.Boolean, "true"),
        (attrs.Timestamp, "2026-01-02"),
        (attrs.Timestamp, True),
        (attrs.Timestamp, 1767323045000),
        (attrs.Timestamp, math.nan),
        (attrs.Timestamp, Now()),
        (attrs.Date, "2026-01-02"),
        (attrs.Date, 1767323045),
        (attrs.JSON, {"a": SECRET.encode()}),
        (attrs.JSON, {"a": "x" * 1000}),
        (attrs.JSON, [1] * 20_000),
        (attrs.JSON, object()),
        (attrs.List, SECRET),
        (attrs.List, 5),
        (attrs.List, {"a": 1}),
        (attrs.List, [[1]]),
        (attrs.List, [{"a": 1}]),
        (attrs.List, [client()]),
        (attrs.List, ["x" * 1000]),
        (attrs.Choice, [1]),
        (attrs.Choice, object()),
        (attrs.Range, [1, 2]),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_mismatch(attribute: Any, value: Any) -> None:
    """A value of another type is refused; the error names attribute and cure, no value."""
    with pytest.raises(InvalidAttribute) as caught:
        attribute("plan_of_person").clean(value)
    assert (caught.value.field or "").startswith("plan_of_person")
    assert "plan_of_person" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert str(caught.value).count(".") >= 2  # the cure is a sentence of its own


def test_endless_iterable() -> None:
    """A list made from something endless is refused in finite time."""

    def forever() -> Iterator[int]:
        while True:
            yield 1

    with pytest.raises(InvalidAttribute):
        attrs.List("a").clean(forever())


def test_choices() -> None:
    """Where the choices are named, others are refused, and True is not 1."""
    plan = attrs.Choice("plan", choices=Plans)
    assert plan.clean("pro") == plan.clean(Plans.PRO) == "pro"
    level = attrs.Choice("level", choices=[1, 2])
    assert level.clean(Levels.HIGH) == 2
    for attribute, value in ((plan, SECRET), (level, True), (level, 3), (level, "1")):
        with pytest.raises(InvalidAttribute, match="none of its choices") as caught:
            attribute.clean(value)
        assert SECRET not in str(caught.value)


@override_settings(TIME_ZONE="America/New_York")
def test_times_are_of_the_project() -> None:
    """Naive times, and the day of an aware one, are read in the project's time zone."""
    late = datetime(2026, 1, 2, 3, tzinfo=UTC)  # still the first in New York
    assert attrs.Date("a").clean(late) == calendar.timegm((2026, 1, 1, 0, 0, 0))
    assert attrs.Date("a").clean(date(2026, 1, 1)) == attrs.Date("a").clean(late)
    naive = datetime(2026, 1, 1, 22)
    assert attrs.Timestamp("a").clean(naive) == attrs.Timestamp("a").clean(late)


@given(st.text())
def test_text_goes_through(text: str) -> None:
    """A string of up to 1,000 bytes is told as it is, a longer one refused."""
    if len(text.encode()) <= 1_000:
        assert attrs.String("a").clean(text) == text
    with pytest.raises(InvalidAttribute):
        attrs.String("a").clean(text + "x" * (1001 - min(1000, len(text.encode()))))


def test_range() -> None:
    """A range is told by its ends."""

    class Period:
        lower, upper, lower_inc, isempty = date(1970, 1, 2), None, True, False

    class Empty(Period):
        isempty = True

    assert attrs.Range("a").clean(Period()) == {"lower": 86400, "upper": None}
    assert attrs.Range("a").clean(Empty()) is None


# -- declaration ----------------------------------------------------------------------


def test_declaration() -> None:
    """An attribute keeps what it was declared with, and shows its name."""
    attribute = attrs.Number("a", source="b", owner="customerio", depends_on=["c"])
    assert (attribute.name, attribute.source, attribute.owner) == ("a", "b", "customerio")
    assert attribute.depends_on == ("c",)
    assert repr(attribute) == '<Number "a">'
    assert (attrs.JSON("a").source, attrs.JSON("a").owner) == (None, "django")


@pytest.mark.parametrize(
    "name",
    ["cio_id", "_update", "_own", "", " ", "a\0", "a\ud800", "x" * 151, "é" * 76, None, 5],
    ids=repr,
)
def test_bad_names(name: Any) -> None:
    """A name that Customer.io does not take is refused where it is declared."""
    with pytest.raises(ImproperlyConfigured):
        attrs.String(name)


@pytest.mark.parametrize(
    "name",
    [
        "id",
        "email",
        "phone",
        "anonymous_id",
        "created_at",
        "unsubscribed",
        "cio_subscription_preferences.topics.topic_3",
    ],
)
def test_good_names(name: str) -> None:
    """Customer.io's documented attributes can be declared."""
    assert attrs.Attribute(name).name == name


@pytest.mark.parametrize("kind", [attrs.Attribute, attrs.Integer, attrs.Number, attrs.JSON])
def test_created_at_in_milliseconds(kind: type[attrs.Attribute]) -> None:
    """Whatever its type, Customer.io takes seconds only there, and any number elsewhere."""
    for moment in (1_700_000_000_000, Decimal(1_700_000_000_000)):
        with pytest.raises(InvalidAttribute, match=r"created_at.*divided by 1,000") as caught:
            kind("created_at").clean(moment)
        assert caught.value.field == "created_at"
        assert kind("seen_at").clean(moment) == moment
    assert kind("created_at").clean(1_700_000_000) == 1_700_000_000


def test_created_at_in_milliseconds_as_a_float() -> None:
    """A float is told by Number as it is, and looked at all the same."""
    with pytest.raises(InvalidAttribute, match="created_at"):
        attrs.Number("created_at").clean(1_700_000_000_000.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"source": ""}, "source"),
        ({"source": 5}, "source"),
        ({"owner": "both"}, '"django" or "customerio"'),
        ({"depends_on": "orders"}, "list of names"),
    ],
)
def test_bad_declarations(options: Any, said: str) -> None:
    """What cannot be meant is refused where it is declared, by the name of the option."""
    with pytest.raises(ImproperlyConfigured, match=said) as caught:
        attrs.String("plan", **options)
    assert '"plan"' in str(caught.value)


def test_type_of_ones_own() -> None:
    """A subclass cleans what no built-in type knows, and keeps the limits."""

    class Money(attrs.String):
        def clean(self, value: Any) -> str | None:
            return super().clean(value and f"{value[0]} {value[1]}")

    money = Money("price", source=lambda instance: (instance.credit, "EUR"))
    assert money.value_from(client(credit=Decimal("9.00"))) == "9.00 EUR"
    assert Money("price").clean(None) is None
    with pytest.raises(InvalidAttribute, match="1,000"):
        Money("price").clean(("x" * 1000, "EUR"))


# -- sources --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("name", "Ann"),
        ("pk", str(UUID(int=1))),
        ("company", 7),
        ("company_id", 7),
        ("company__name", "Acme"),
        ("company.name", "Acme"),
        ("company__pk", 7),
        ("company__motto", "We are Acme"),
        ("by_code", "acme"),
        ("by_code__founded", -62135596800),
        ("account__owner__name", "Ann"),
        ("initials", "A"),
        ("greeting", "Hello Ann"),
        ("get_plan_display", "Professional"),
        ("joined__year", 2026),
        ("with__marks", "odd"),
        ("photo__name", "a.png"),
        ("nothing", None),
        (lambda instance: instance.name.upper(), "ANN"),
        (lambda instance: None, None),
    ],
)
def test_sources(source: Any, expected: Any) -> None:
    """Fields, relations, methods, properties and functions give the value."""
    acme = Company(pk=7, name="Acme", code="acme", founded="0001-01-01")
    instance = client(
        company=acme,
        by_code=acme,
        plan="pro",
        joined=datetime(2026, 1, 2, tzinfo=UTC),
        photo="a.png",
    )
    instance.account = Account(owner=instance)
    attribute = attrs.Attribute("a", source=source)
    assert attribute.value_from(instance) == expected
    assert attribute.value_from(instance) == expected  # resolved by now


def test_source_over_a_reverse_relation() -> None:
    """A path over a reverse one-to-one relation ends at the other model's field."""
    customer = Customer()
    customer.subscription = Subscription(plan=Plan(pk=7, price="9.50"))
    assert attrs.Integer("plan", source="subscription__plan").value_from(customer) == 7
    price = attrs.Number("price", source="subscription__plan__price")
    assert price.value_from(customer) == 9.5
    assert price.value_from(Customer()) is None


def test_name_is_the_source() -> None:
    """Without a source, the attribute's name is it."""
    assert attrs.String("name").value_from(client()) == "Ann"


@pytest.mark.parametrize(
    "source",
    [
        "company",
        "company__name",
        "company__motto",
        "account",
        "account__owner__name",
        "gone",
        lambda instance: instance.account.owner,
        "joined__year",
    ],
)
def test_missing_related_object(source: Any) -> None:
    """Where a related object is missing the value is None."""
    assert attrs.Attribute("a", source=source).value_from(client(uuid=None)) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("broken", r"raised ValueError in \w+.*\.broken, line \d+"),
        (lambda instance: instance.nothing.at_all, "raised AttributeError in .*<lambda>"),
        ("nosuch", "raised AttributeError"),
        ("company__nosuch", "raised AttributeError"),
        ("wipe", "changes data"),
        ("later", "async"),
        ("friends", 'type "ManyRelatedManager"'),
        ("kind", "type"),
    ],
)
def test_failing_sources(source: Any, said: str) -> None:
    """A source that fails is an error of its attribute, without what it said."""
    instance = client(company=Company(pk=7))
    with pytest.raises(InvalidAttribute, match=said) as caught:
        attrs.Attribute("plan", source=source).value_from(instance)
    assert caught.value.field == "plan"
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_many_related_rows() -> None:
    """A relation to many rows is no value; its manager is not called."""
    with pytest.raises(InvalidAttribute, match=r'type "RelatedManager"'):
        attrs.Attribute("orders").value_from(Customer(pk=1))


def test_database_errors_pass() -> None:
    """An error of the database is none of the attribute's, and is not hidden."""
    with pytest.raises(DatabaseError):
        attrs.Attribute("a", source="cut").value_from(client())


@pytest.mark.parametrize(
    ("attribute", "field", "value", "expected"),
    [
        (attrs.Timestamp, "joined", "2026-01-02T03:04:05Z", 1767323045),
        (attrs.Timestamp, "joined", "2026-01-02 03:04:05", 1767323045),
        (attrs.Date, "born", "1970-01-02", 86400),
        (attrs.Number, "credit", "9.50", 9.5),
        (attrs.Number, "credit", 9.5, 9.5),
        (attrs.Number, "trial", "00:01:00", 60),
        (attrs.Integer, "visits", "42", 42),
        (attrs.Boolean, "active", 1, True),
        (attrs.Boolean, "active", "False", False),
        (attrs.String, "name", 5, "5"),
        (attrs.String, "uuid", UUID(int=5).hex, str(UUID(int=5))),
        (attrs.String, "country", "DE", "DE"),
        (attrs.Choice, "plan", Plans.PRO, "pro"),
        (attrs.Choice, "level", "2", 2),
    ],
)
def test_value_that_is_not_yet_the_fields(
    attribute: Any, field: str, value: Any, expected: Any
) -> None:
    """After save() a field still holds what it was given: the field converts it."""
    result = attribute("a", source=field).value_from(client(**{field: value}))
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("attribute", "field", "value"),
    [
        (attrs.Timestamp, "joined", f"{SECRET}"),
        (attrs.Number, "credit", SECRET),
        (attrs.Integer, "visits", F("visits") + 1),
        (attrs.String, "name", Concat(F("name"), Value(SECRET))),
        (attrs.Attribute, "name", F("name")),
    ],
)
def test_value_that_never_is_the_fields(attribute: Any, field: str, value: Any) -> None:
    """What the field does not take, or only the database knows, is refused."""
    instance = client(**{field: value})
    with pytest.raises(InvalidAttribute) as caught:
        attribute("a", source=field).value_from(instance)
    assert caught.value.field == "a"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_one_attribute_for_several_models() -> None:
    """An attribute reads instances of each model by that model's own fields."""
    attribute = attrs.String("name")
    assert attribute.value_from(client()) == "Ann"
    assert attribute.value_from(Company(name="Acme")) == "Acme"


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ("a.png", "https://files.e.com/a.png"),
        ("signed", "signed"),
        ("nowhere", "nowhere"),
        ("", ""),
    ],
)
def test_files(photo: str, expected: str) -> None:
    """A file is told by its address, by its name where there is none or it is signed."""
    assert attrs.String("photo").value_from(client(photo=photo)) == expected


# -- inference ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("uuid", attrs.String),
        ("name", attrs.String),
        ("email", attrs.String),
        ("joined", attrs.Timestamp),
        ("born", attrs.Date),
        ("wakes", attrs.String),
        ("trial", attrs.Number),
        ("visits", attrs.Integer),
        ("score", attrs.Number),
        ("credit", attrs.Number),
        ("active", attrs.Boolean),
        ("plan", attrs.Choice),
        ("level", attrs.Choice),
        ("settings", attrs.JSON),
        ("photo", attrs.String),
        ("address", attrs.String),
        ("country", attrs.String),
        ("strange", attrs.Attribute),
        ("company", attrs.Integer),
        ("by_code", attrs.String),
        ("doubled", attrs.Integer),
    ],
)
def test_inference(field: str, expected: Any) -> None:
    """The type of an attribute follows from the model's field."""
    assert attrs.infer(Client._meta.get_field(field)) is expected


def test_every_field_of_django() -> None:
    """Each field class that Django has is known, or refused with a cure."""
    choices = {
        models.AutoField: attrs.Integer,
        models.BigAutoField: attrs.Integer,
        models.SmallAutoField: attrs.Integer,
        models.BigIntegerField: attrs.Integer,
        models.SmallIntegerField: attrs.Integer,
        models.PositiveIntegerField: attrs.Integer,
        models.PositiveBigIntegerField: attrs.Integer,
        models.PositiveSmallIntegerField: attrs.Integer,
        models.SlugField: attrs.String,
        models.URLField: attrs.String,
        models.TextField: attrs.String,
        models.FilePathField: attrs.String,
        models.FileField: attrs.String,
        models.CommaSeparatedIntegerField: attrs.String,
    }
    for field, expected in choices.items():
        assert attrs.infer(field()) is expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (ArrayField(models.CharField()), attrs.List),
        (ArrayField(ArrayField(models.CharField())), attrs.JSON),
        (ArrayField(models.JSONField()), attrs.JSON),
        (IntegerRangeField(), attrs.Range),
        (ArrayField(IntegerRangeField()), attrs.JSON),
        (HStoreField(), attrs.JSON),
        (StrangeField(choices=Plans), attrs.Choice),
    ],
)
def test_fields_of_postgresql(field: Any, expected: Any) -> None:
    """PostgreSQL's own fields are known without importing them."""
    assert attrs.infer(field) is expected


@pytest.mark.parametrize(
    "field",
    [
        Client._meta.get_field("secret"),
        Client._meta.get_field("friends"),
        Customer._meta.get_field("subscription"),
        Customer._meta.get_field("orders"),
        Seat._meta.pk,
    ],
    ids=lambda field: field.name,
)
def test_fields_without_a_type(field: Any) -> None:
    """Bytes, other rows and composite keys are no attribute by themselves."""
    with pytest.raises(ImproperlyConfigured, match="source") as caught:
        attrs.infer(field)
    assert f'"{field.name}"' in str(caught.value)
