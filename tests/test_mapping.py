"""What a map says, which map a model has, and what is read of its rows."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, connections, models
from django.db.models import F, Value
from django.db.models.functions import Concat, Lower
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils.functional import SimpleLazyObject

from django_customerio import attributes as attrs
from django_customerio.exceptions import InvalidAttribute, InvalidMessage, NotMapped
from django_customerio.mapping import PersonMap, Reading, Registry, register, registry
from django_customerio.messages import Delete, Identifiers, Suppress
from tests.shop.models import (
    VIP,
    Account,
    Customer,
    Donor,
    Employee,
    Member,
    Order,
    Patient,
    Person,
    Plan,
    Reader,
    Regular,
    Seat,
    Subscription,
    Teacher,
    Visitor,
)

SHOP = "tests.shop.models"
"""The module of models that a test defines: an app's own."""


def made(model: type[models.Model], **options: Any) -> PersonMap:
    """A map of *model* with these options, known to nobody else."""
    return type("Map", (PersonMap,), options)(model)


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"id_type": "phone"}, ["id_type", "'id' or 'email'"]),
            ({"on_delete": "forget"}, ["on_delete", "'delete' or 'suppress' or 'keep'"]),
            ({"on_create": ""}, ["on_create", "string"]),
            ({"on_login": 3}, ["on_login", "string"]),
            ({"id": None}, ["id ", "string"]),
            ({"workspace": None}, ["workspace", "string"]),
            ({"update_only": "yes"}, ["update_only", "True or False"]),
            ({"atomic": None}, ["atomic", "True or False"]),
            ({"attributes": "email"}, ["attributes", "list"]),
            ({"attributes": [3]}, ["attributes", "int", "attributes.String"]),
            ({"select_related": "plan"}, ["select_related", "list"]),
            ({"prefetch_related": None}, ["prefetch_related", "list"]),
            ({"when": "consented"}, ["when", "callable"]),
            ({"accessor": "customer io"}, ["accessor", "name of an attribute"]),
            ({"accessor": "class"}, ["accessor", "name of an attribute"]),
        ],
    )
    def test_wrong_values_are_refused(self, options: dict[str, Any], words: list[str]) -> None:
        """The error names the model, the option and what it takes."""
        with pytest.raises(ImproperlyConfigured) as caught:
            made(Visitor, **options)
        for word in ["shop.Visitor", *words]:
            assert word in str(caught.value)

    def test_unknown_options_are_refused(self) -> None:
        """A misspelt option is named together with those that are close."""
        with pytest.raises(ImproperlyConfigured) as caught:
            made(Visitor, on_deleted="keep")
        for word in ("'on_deleted'", "Did you mean 'on_delete'"):
            assert word in str(caught.value)

    def test_helpers_and_overrides_are_allowed(self) -> None:
        """Private names and the methods of PersonMap itself are no options."""

        class Map(PersonMap):
            _limit = 3

            def touches(self, update_fields: Any) -> bool:
                return False

        assert not Map(Visitor).touches(None)

    def test_when_without_staticmethod(self) -> None:
        """A plain function, a static one and a method of the map mean the same."""

        class Method(PersonMap):
            _city = "Oslo"

            def when(self, visitor: Visitor) -> bool:  # type: ignore[override]
                return visitor.city == self._city

        maps = [
            made(Visitor, when=lambda visitor: visitor.city == "Oslo"),
            made(Visitor, when=staticmethod(lambda visitor: visitor.city == "Oslo")),
            Method(Visitor),
        ]
        for each in maps:
            assert each.when is not None
            assert each.when(Visitor(city="Oslo"))
            assert not each.when(Visitor(city="Rome"))

    def test_attributes_follow_the_fields(self) -> None:
        """Names get the type of their field; typed ones stay as they are."""
        person_map = made(
            Customer, attributes=["email", "is_active", attrs.Timestamp("x", source="date_joined")]
        )
        kinds = [type(each) for each in person_map.bound_attributes]
        assert kinds == [attrs.String, attrs.Boolean, attrs.Timestamp]

    @pytest.mark.parametrize("name", ["emial", "get_full_name", "orders", "subscription__plan"])
    def test_names_that_are_no_fields(self, name: str) -> None:
        """What is no field needs a type, and the error says how."""
        with pytest.raises(ImproperlyConfigured) as caught:
            made(Customer, attributes=[name]).touches(["email"])
        assert repr(name) in str(caught.value)
        assert "attributes.String(" in str(caught.value)

    def test_a_many_to_many_relation(self) -> None:
        """It is a field, so the error says what it needs instead."""
        with pytest.raises(ImproperlyConfigured) as caught:
            made(Customer, attributes=["groups"]).touches(["email"])
        text = str(caught.value)
        assert "lists 'groups', a many-to-many relation. It needs a type and a source" in text
        assert "attributes.List('groups', source=…)" in text
        assert "no field" not in text

    @pytest.mark.parametrize(
        "source", ["subscription__plna__name", "orders_", "nothing.at.all", "plan__name"]
    )
    def test_sources_that_lead_nowhere(self, source: str) -> None:
        """A name on the way that neither a field nor the class has."""
        person_map = made(Customer, attributes=[attrs.String("x", source=source)])
        with pytest.raises(ImproperlyConfigured) as caught:
            person_map.touches(["email"])
        assert "'x'" in str(caught.value)
        assert "shop." in str(caught.value)

    def test_names_twice(self) -> None:
        """Two attributes of one name would overwrite each other."""
        with pytest.raises(ImproperlyConfigured, match="'email' twice"):
            made(Customer, attributes=["email", attrs.String("email", source="username")]).touches(
                ["email"]
            )


class TestRegistry:
    def test_nearest_in_the_line_of_descent(self) -> None:
        """Proxies and children have the map of their model; others have none."""
        customers = registry.get(Customer)
        assert customers is not None
        assert customers.label == "shop.customer"
        assert customers.model is Customer
        for each in (Regular, VIP, Customer(), VIP(), Regular()):
            assert registry.get(each) is customers
        people = registry.get(Person)
        assert people is not None
        assert registry.get(Teacher) is people
        for each in (Plan, Plan(), Order, int, "id", 3, None):
            assert registry.get(each) is None

    def test_lazy_objects(self) -> None:
        """request.user is what it stands for."""
        assert registry.get(SimpleLazyObject(Customer)) is registry.get(Customer)

    def test_by_label(self) -> None:
        """As the queue names models; unmapped ones and children have no label of their own."""
        assert registry.by_label("shop.customer") is registry.get(Customer)
        assert registry.by_label("shop.Customer") is registry.get(Customer)
        assert registry.by_label("shop.vip") is None
        assert registry.by_label("shop.plan") is None

    def test_iteration(self) -> None:
        """All maps, one a model."""
        labels = [each.label for each in registry]
        assert len(labels) == len(set(labels)) == len(registry)
        assert {"shop.customer", "shop.visitor", "shop.person", "shop.seat"} <= set(labels)
        assert "shop.customer" in repr(registry.get(Customer)).lower()

    def test_registering(self) -> None:
        """The decorator gives the class back."""
        site = Registry()

        class Map(PersonMap):
            attributes = ["name"]

        assert register(Plan, site=site)(Map) is Map
        found = site.get(Plan())
        assert isinstance(found, Map)
        assert found.model is Plan

    def test_registering_after_a_look(self) -> None:
        """A model that was unmapped a moment ago is mapped once it is registered."""
        site = Registry()
        assert site.get(Regular) is None
        site.register(Customer, PersonMap)
        assert site.get(Regular) is not None

    def test_registering_twice(self) -> None:
        """A model has one map; the error names the first."""
        with pytest.raises(ImproperlyConfigured, match=r"shop\.Visitor.*VisitorMap"):
            register(Visitor)(type("Map", (PersonMap,), {}))
        with pytest.raises(ImproperlyConfigured, match=r"shop\.Customer"):
            register(Customer)(type("Map", (PersonMap,), {}))

    def test_proxies_are_refused(self) -> None:
        """A proxy has no rows of its own."""
        with pytest.raises(
            ImproperlyConfigured, match=r"shop\.Regular is a proxy.*shop\.Customer"
        ):
            register(Regular)(type("Map", (PersonMap,), {}))

    def test_abstract_and_swapped_models_are_refused(self) -> None:
        """Neither has rows."""
        from django.contrib.auth.models import AbstractUser, User

        with pytest.raises(ImproperlyConfigured, match="abstract"):
            register(AbstractUser)(PersonMap)
        with pytest.raises(ImproperlyConfigured, match=r"swapped for shop\.Customer"):
            register(User)(PersonMap)

    def test_only_maps_can_be_registered(self) -> None:
        """The decorator on something else says what it is for."""
        with pytest.raises(ImproperlyConfigured, match="PersonMap"):
            register(Plan)(object)  # type: ignore[type-var]


class TestTouches:
    @pytest.mark.parametrize(
        ("model", "fields", "expected"),
        [
            (Customer, None, True),
            (Customer, [], False),
            (Customer, ["email"], True),
            (Customer, ["nickname"], False),
            (Customer, ["nickname", "email"], True),
            (Customer, ["uuid"], True),
            (Customer, ["date_joined"], True),
            (Customer, ["last_login"], False),
            (Account, ["favourite"], True),
            (Account, ["favourite_id"], True),
            (Account, ["customer_id"], True),
            (Seat, ["number"], True),
            (Seat, ["holder"], True),
            # ``when`` may read anything
            (Employee, ["notes"], True),
            (Employee, [], False),
        ],
    )
    def test_by_the_fields(
        self, model: type[models.Model], fields: list[str] | None, expected: bool
    ) -> None:
        """Names and attnames of mapped fields, of the id and of local foreign keys count."""
        person_map = registry.get(model)
        assert person_map is not None
        assert person_map.touches(fields) is expected
        if fields is not None:
            assert person_map.touches(frozenset(fields)) is expected
            assert person_map.touches(iter(fields)) is expected

    @pytest.mark.parametrize(
        "source", [lambda customer: 1, "get_full_name", "is_authenticated", "groups.count"]
    )
    def test_opaque_sources(self, source: Any) -> None:
        """Code may read any field, but a log-in is no change."""
        person_map = made(Customer, attributes=[attrs.JSON("x", source=source)])
        assert person_map.touches(["nickname"])
        assert person_map.touches(["last_login", "nickname"])
        assert not person_map.touches(["last_login"])

    def test_depends_on(self) -> None:
        """Code that says what it reads is asked for no other field."""
        person_map = made(
            Customer,
            attributes=[
                attrs.JSON("x", source="get_full_name", depends_on=["first_name", "orders"])
            ],
        )
        assert person_map.touches(["first_name"])
        assert not person_map.touches(["email"])

    def test_last_login_that_is_mapped(self) -> None:
        """Whoever maps it wants to know of log-ins."""
        for attributes in (
            ["last_login"],
            ["last_login", attrs.JSON("x", source="get_full_name")],
            [
                attrs.JSON("x", source="get_full_name"),
                attrs.JSON("y", source=len, depends_on=["last_login"]),
            ],
        ):
            assert made(Customer, attributes=attributes).touches(["last_login"])

    @isolate_apps("tests.shop")
    def test_last_login_of_what_is_no_user(self) -> None:
        """The exception is for users only."""

        class Machine(models.Model):
            __module__ = SHOP

            last_login = models.DateTimeField()

        assert made(Machine, when=lambda machine: True).touches(["last_login"])

    @isolate_apps("tests.shop")
    def test_generated_columns(self) -> None:
        """Any field may be behind a generated column."""

        class Named(models.Model):
            __module__ = SHOP

            name = models.CharField(max_length=10)
            lower = models.GeneratedField(
                expression=Lower("name"), output_field=models.CharField(), db_persist=True
            )

        assert made(Named, attributes=["lower"]).touches(["name"])

    def test_a_look_inside_a_value(self) -> None:
        """A path into a date or a file counts for its field alone."""
        person_map = made(Customer, attributes=[attrs.Integer("x", source="date_joined.year")])
        assert person_map.touches(["date_joined"])
        assert not person_map.touches(["email"])

    def test_names_with_underscores(self) -> None:
        """A property whose name has the separator in it is one name."""

        class Odd(Plan):
            class Meta:
                proxy = True
                app_label = "odd"

            @property
            def the__name(self) -> str:
                return self.name

        assert made(Odd, attributes=[attrs.String("x", source="the__name")]).touches(["price"])


class TestKeys:
    def test_object_pk(self) -> None:
        """The key of the mapped row, as text in one form."""
        customers, seats = registry.get(Customer), registry.get(Seat)
        assert customers is not None
        assert seats is not None
        assert customers.object_pk(Customer(pk=7)) == "7"
        assert customers.object_pk(Customer(pk="07")) == "7"
        assert customers.object_pk(VIP(id=7, customer_ptr_id=7)) == "7"
        assert customers.object_pk(SimpleLazyObject(lambda: Customer(pk=7))) == "7"
        assert seats.object_pk(Seat(hall="Ä", number=3)) == '["Ä", "3"]'

    def test_ids(self) -> None:
        """UUIDs with dashes, integers in decimal, however they were set."""
        given = uuid.uuid4()
        customers, visitors = registry.get(Customer), registry.get(Visitor)
        assert customers is not None
        assert visitors is not None
        for value in (given, str(given), given.hex, str(given).upper()):
            found = customers.identify_key(Customer(uuid=value), using="default")
            assert found == Identifiers("id", str(given))
        assert visitors.identify_key(Visitor(pk="012"), using="default") == Identifiers("id", "12")

    def test_empty_ids(self) -> None:
        """None and blanks name nobody."""
        readers = registry.get(Reader)
        assert readers is not None
        for email in (None, "", "  "):
            assert readers.identify_key(Reader(email=email), using="default") is None

    def test_foreign_keys(self) -> None:
        """A foreign key identifies by its value; the related object is not loaded."""
        accounts = registry.get(Account)
        assert accounts is not None
        assert accounts.identify_key(Account(customer_id=3), using="default") == Identifiers(
            "id", "3"
        )

    def test_impossible_ids(self) -> None:
        """What Customer.io does not take is refused without quoting it."""
        readers = registry.get(Reader)
        assert readers is not None
        with pytest.raises(InvalidMessage) as caught:
            readers.identify_key(Reader(email="x" * 300), using="default")
        assert "xxx" not in str(caught.value)

    @pytest.mark.django_db
    def test_deferred_ids_cost_one_query(self, django_assert_num_queries: Any) -> None:
        """Only where the instance does not hold the id is the database asked."""
        customers = registry.get(Customer)
        assert customers is not None
        customer = Customer.objects.create_user("ada")
        deferred = Customer.objects.only("username").get()
        with django_assert_num_queries(1):
            found = customers.identify_key(deferred, using="default")
        assert found == Identifiers("id", str(customer.uuid))
        with django_assert_num_queries(0):
            customers.identify_key(customer, using="default")
        customer.delete()
        assert customers.identify_key(deferred, using="default") is None

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes are new in 6.1")
    @pytest.mark.django_db
    def test_fetch_modes(self) -> None:
        """An instance that refuses to load fields is asked past its refusal."""
        customers = registry.get(Customer)
        assert customers is not None
        customer = Customer.objects.create_user("ada")
        strict = Customer.objects.only("username").fetch_mode(models.FETCH_RAISE).get()
        found = customers.identify_key(strict, using="default")
        assert found == Identifiers("id", str(customer.uuid))

    @pytest.mark.django_db
    def test_expressions_are_read_back(self) -> None:
        """After the save of an expression the row knows the id, the instance may not."""
        seats = registry.get(Seat)
        assert seats is not None
        seat = Seat.objects.create(hall="A", number=1, holder="Ann")
        seat.holder = Concat(F("holder"), Value("a"))
        seat.save()
        assert seats.identify_key(seat, using="default") == Identifiers("id", "Anna")

    @pytest.mark.parametrize(
        ("model", "name", "word"),
        [
            (Seat, "pk", "composite"),
            (Customer, "uid", "Did you mean 'uuid'"),
            (Customer, "orders", "no field"),
            (Customer, "groups", "no field"),
            (Customer, "get_full_name", "no field"),
        ],
    )
    def test_what_cannot_identify(
        self, db: None, model: type[models.Model], name: str, word: str
    ) -> None:
        """One concrete field identifies; the error names the cure."""
        with pytest.raises(ImproperlyConfigured, match=word):
            made(model, id=name).identify_key(model(), using="default")

    def test_delete_messages(self) -> None:
        """By on_delete."""
        person = Identifiers("id", "1")
        found = [registry.get(each) for each in (Visitor, Patient, Donor)]
        messages = [each.delete_message(person) for each in found if each is not None]
        assert messages == [Delete(person=person), Suppress(person=person), None]


@pytest.fixture
def ada(db: None) -> Customer:
    """A customer with a plan and two orders."""
    customer = Customer.objects.create_user(
        "ada", "ada@example.com", first_name="Ada", date_joined=datetime(2026, 1, 2, tzinfo=UTC)
    )
    Subscription.objects.create(customer=customer, plan=Plan.objects.create(name="Pro"))
    for total in ("10.25", "20.25"):
        Order.objects.create(
            customer=customer, total=Decimal(total), placed_at=datetime(2026, 1, 3, tzinfo=UTC)
        )
    return customer


def read(person_map: PersonMap | None, *instances: models.Model) -> list[Reading | None]:
    assert person_map is not None
    pks = [person_map.object_pk(each) for each in instances]
    found = person_map.read(pks, using="default")
    assert set(found) <= set(pks)
    return [found.get(pk) for pk in pks]


class TestReading:
    def test_values(self, ada: Customer) -> None:
        """Fields, paths, callables and two-way attributes, each by its type."""
        [reading] = read(registry.get(Customer), ada)
        assert reading is not None
        assert reading.person == Identifiers("id", str(ada.uuid))
        assert reading.attributes == {
            "email": "ada@example.com",
            "first_name": "Ada",
            "is_active": True,
            "created_at": 1767312000,
            "plan": "Pro",
            "lifetime_value": 30.5,
            "unsubscribed": False,
        }
        assert reading.owners_elsewhere == {"unsubscribed"}
        assert (reading.errors, reading.excluded, reading.failure) == ({}, False, None)

    def test_missing_relations(self, db: None) -> None:
        """Where a path breaks off there is no value."""
        customer = Customer.objects.create_user("ada")
        [reading] = read(registry.get(Customer), customer)
        assert reading is not None
        assert reading.attributes["plan"] is None
        account = Account.objects.create(customer=customer)
        [reading] = read(registry.get(Account), account)
        assert reading is not None
        assert reading.attributes == {"credit": 0, "favourite": None}

    def test_the_clock(self, ada: Customer) -> None:
        """Stamped by the database, in milliseconds."""
        [one] = read(registry.get(Customer), ada)
        [two] = read(registry.get(Visitor), Visitor.objects.create())
        assert one is not None
        assert two is not None
        for reading in (one, two):
            assert abs(reading.at - datetime.now(UTC).timestamp() * 1000) < 60_000
            assert type(reading.at) is int

    def test_one_query_for_many(self, ada: Customer, django_assert_num_queries: Any) -> None:
        """Joins for the paths, and as many queries more as the map prefetches."""
        people = [ada, *(Customer.objects.create_user(f"c{number}") for number in range(5))]
        with django_assert_num_queries(2):
            assert None not in read(registry.get(Customer), *people)
        accounts = [Account.objects.create(customer=each) for each in people]
        with django_assert_num_queries(1):
            assert None not in read(registry.get(Account), *accounts)
        with django_assert_num_queries(0):
            assert read(registry.get(Account)) == []

    def test_explicit_joins(self, ada: Customer, django_assert_num_queries: Any) -> None:
        """select_related of the map comes on top of what the sources need."""
        subscriptions = made(
            Subscription,
            attributes=[
                attrs.String("plan", source=lambda subscription: subscription.plan.name),
                attrs.String("customer", source="customer__email"),
            ],
            select_related=["plan"],
        )
        with django_assert_num_queries(1):
            [reading] = read(subscriptions, ada.subscription)
        assert reading is not None
        assert reading.attributes == {"plan": "Pro", "customer": "ada@example.com"}

    def test_rows_that_are_gone(self, ada: Customer) -> None:
        """Missing rows, and keys of a type that the model no longer has, are left out."""
        customers = registry.get(Customer)
        assert customers is not None
        assert customers.read(["0", str(uuid.uuid4()), "x"], using="default") == {}
        assert set(customers.read([str(ada.pk), "0", "x"], using="default")) == {str(ada.pk)}

    def test_keys_in_other_forms(self, ada: Customer) -> None:
        """Each reading comes under the key that was asked for."""
        customers = registry.get(Customer)
        assert customers is not None
        asked = {str(ada.pk), f"0{ada.pk}"}
        assert set(customers.read(asked, using="default")) == asked

    def test_empty_and_impossible_ids(self, db: None) -> None:
        """A row that is nobody by now has no reading; whoever stands beside it has."""
        people = [
            Reader(name="none", email=None),
            Reader(name="blank", email=""),
            Reader(name="too long in bytes", email="ä" * 200 + "@example.com"),
            Reader(name="fine", email="ann@example.com"),
        ]
        Reader.objects.bulk_create(people)
        people = list(Reader.objects.order_by("pk"))
        options: dict[str, Any] = {"id": "email", "id_type": "email", "attributes": ["name"]}
        for when in (None, lambda reader: True):
            found = read(made(Reader, when=when, **options), *people)
            assert [each and each.attributes for each in found] == [
                None,
                None,
                None,
                {"name": "fine"},
            ]

    def test_composite_keys(self, db: None) -> None:
        """Read by both parts."""
        one = Seat.objects.create(hall="A", number=1, holder="Ann")
        two = Seat.objects.create(hall="B", number=1, holder="Bob")
        found = read(registry.get(Seat), one, two)
        assert [each and each.person.value for each in found] == ["Ann", "Bob"]

    def test_soft_deleted_rows(self, db: None) -> None:
        """Read through the base manager, which hides nothing."""
        member = Member.objects.create(name="Ann")
        member.delete()
        assert not Member.objects.exists()
        [reading] = read(registry.get(Member), member)
        assert reading is not None
        assert reading.attributes == {"name": "Ann", "removed": True}

    def test_children_are_read_as_their_parent(self, db: None) -> None:
        """The mapped parent's row holds what is told."""
        vip = VIP.objects.create_user("ada", "ada@example.com")
        [reading] = read(registry.get(Customer), vip)
        assert reading is not None
        assert reading.attributes["email"] == "ada@example.com"

    def test_columns_and_instances_agree(self, ada: Customer) -> None:
        """Reading without instances is a matter of speed only."""
        attributes = [
            "email",
            "is_active",
            "uuid",
            "date_joined",
            attrs.String("plan", source="subscription__plan__name"),
            attrs.Integer("plan_id", source="subscription__plan"),
            attrs.Integer("plan_key", source="subscription.plan_id"),
            attrs.Integer("plan_pk", source="subscription.plan.pk"),
            attrs.Number("price", source="subscription.plan.price"),
        ]
        person_map = made(Customer, id="uuid", attributes=attributes)
        twin = made(Customer, id="uuid", attributes=attributes, when=lambda customer: True)
        [one], [two] = read(person_map, ada), read(twin, ada)
        assert one is not None
        assert two is not None
        assert one.attributes == two.attributes
        assert one.errors == two.errors == {}
        assert one.person == two.person
        with CaptureQueriesContext(connection) as queries:
            read(person_map, ada)
        assert "nickname" not in queries[0]["sql"]

    def test_the_models_ordering_is_not_wanted(self, ada: Customer) -> None:
        """Sorting costs, and nobody asked for it."""

        class Sorted(Customer):
            class Meta:
                proxy = True
                app_label = "sorted"
                ordering = ["nickname"]

        with CaptureQueriesContext(connection) as queries:
            assert None not in read(made(Sorted, attributes=["email"]), ada)
        assert "ORDER BY" not in queries[0]["sql"]

    def test_models_with_code_between_row_and_instance(self, ada: Customer) -> None:
        """from_db, __init__ and descriptors of the site's own are respected."""

        class Louder(Customer):
            class Meta:
                proxy = True
                app_label = "louder"

            @classmethod
            def from_db(cls, *args: Any, **kwargs: Any) -> Louder:
                customer = super().from_db(*args, **kwargs)
                customer.first_name = customer.first_name.upper()
                return customer

        [reading] = read(made(Louder, attributes=["first_name"]), ada)
        assert reading is not None
        assert reading.attributes == {"first_name": "ADA"}


class TestWhen:
    def test_excluded(self, db: None) -> None:
        """Somebody who is not to be told is read no further."""
        employee = Employee.objects.create(name="Ann", consented=False)
        [reading] = read(registry.get(Employee), employee)
        assert reading is not None
        assert reading.excluded
        assert reading.attributes == {}
        employee.consented = True
        employee.save()
        [reading] = read(registry.get(Employee), employee)
        assert reading is not None
        assert not reading.excluded
        assert reading.attributes == {"name": "Ann"}

    def test_raising(self, db: None) -> None:
        """Whether the person may be told is unknown then, and nobody else suffers."""
        employees = [Employee.objects.create(name=name) for name in ("secret", "Bob")]

        def when(employee: Employee) -> bool:
            if employee.name == "secret":
                raise RuntimeError(employee.name)
            return True

        failed, fine = read(made(Employee, attributes=["name"], when=when), *employees)
        assert failed is not None
        assert isinstance(failed.failure, InvalidMessage)
        assert failed.attributes == {}
        assert "RuntimeError" in str(failed.failure)
        assert "shop.Employee" in str(failed.failure)
        assert "secret" not in str(failed.failure)
        assert fine is not None
        assert fine.failure is None
        assert fine.attributes == {"name": "Bob"}


class Shouting(attrs.String):
    """A type of the site's own that fails."""

    def clean(self, value: Any) -> Any:
        raise RuntimeError(value)


def failing(customer: Customer) -> str:
    raise KeyError(customer.email)


class TestErrors:
    @pytest.mark.parametrize(
        "wrong",
        [
            attrs.Integer("x", source="first_name"),
            attrs.Integer("x", source="get_short_name"),
            attrs.String("x", source=failing),
            Shouting("x", source="first_name"),
        ],
    )
    def test_one_attribute_is_left_out(self, ada: Customer, wrong: attrs.Attribute) -> None:
        """It is reported by its name, without a value, and the others go."""
        [reading] = read(made(Customer, attributes=[wrong, "email"]), ada)
        assert reading is not None
        assert reading.attributes == {"email": "ada@example.com"}
        assert list(reading.errors) == ["x"]
        error = reading.errors["x"]
        assert isinstance(error, InvalidAttribute)
        assert error.field == "x"
        assert "Ada" not in str(error)
        assert "ada@" not in str(error)

    def test_no_value_stays_reachable(self, ada: Customer) -> None:
        """An error that is kept holds no frame and no other error."""
        wrong = [attrs.Integer("x", source="first_name"), Shouting("y", source="first_name")]
        for when in (None, lambda customer: True):
            [reading] = read(made(Customer, attributes=wrong, when=when), ada)
            assert reading is not None
            assert list(reading.errors) == ["x", "y"]
            for error in reading.errors.values():
                assert error.__traceback__ is None
                assert error.__context__ is None
                assert error.__cause__ is None

    def test_errors_of_other_databases_are_the_attributes_own(self, ada: Customer) -> None:
        """While our own connection works, a failing query is the source's fault."""

        def query(customer: Customer) -> str:
            raise OperationalError("password=secret")

        [reading] = read(
            made(Customer, attributes=["email", attrs.String("x", source=query)]), ada
        )
        assert reading is not None
        assert list(reading.errors) == ["x"]
        assert "OperationalError" in str(reading.errors["x"])
        assert "secret" not in str(reading.errors["x"])

    @pytest.mark.django_db(transaction=True)
    def test_a_lost_database_is_nobodys_fault(self) -> None:
        """It reaches the sender, which knows how to wait."""
        visitor = Visitor.objects.create()

        def lose(visitor: Visitor) -> str:
            connections["default"].close()
            raise OperationalError

        for options in (
            {"attributes": [attrs.String("x", source=lose)]},
            {"when": staticmethod(lose)},
        ):
            with pytest.raises(OperationalError):
                read(made(Visitor, **options), visitor)


class TestReadingInstances:
    def test_as_it_stands(self, ada: Customer) -> None:
        """What the instance says, before it is saved."""
        ada.first_name = "Augusta"
        customers = registry.get(Customer)
        assert customers is not None
        reading = customers.read_instance(SimpleLazyObject(lambda: ada))  # type: ignore[arg-type]
        assert reading.attributes["first_name"] == "Augusta"
        assert reading.attributes["plan"] == "Pro"
        assert reading.person == Identifiers("id", str(ada.uuid))
        assert abs(reading.at - datetime.now(UTC).timestamp() * 1000) < 60_000

    def test_strings_that_stand_for_other_types(self, db: None) -> None:
        """In post_save a field may still hold what it was given."""
        customers = registry.get(Customer)
        assert customers is not None
        customer = Customer(username="ada", date_joined="2026-01-02T00:00:00Z")
        customer.save()
        assert customers.read_instance(customer).attributes["created_at"] == 1767312000

    def test_expressions(self, ada: Customer) -> None:
        """An expression has no value yet; the row has, once it is saved."""
        account = Account.objects.create(customer=ada)
        account.credit = F("credit") + 1  # type: ignore[assignment]
        accounts = registry.get(Account)
        assert accounts is not None
        assert list(accounts.read_instance(account).errors) == ["credit"]
        account.save()
        [reading] = read(accounts, account)
        assert reading is not None
        assert reading.attributes["credit"] == 1

    def test_nobody(self, db: None) -> None:
        """Without an id there is nobody to read."""
        readers = registry.get(Reader)
        assert readers is not None
        with pytest.raises(NotMapped, match=r"shop\.Reader has no email"):
            readers.read_instance(Reader(email=""))


@pytest.mark.django_db(databases=["default", "other"])
def test_reading_another_database() -> None:
    """The alias that was written is read, never the default's row of the same key."""
    Visitor.objects.create(pk=1, city="Oslo")
    Visitor.objects.using("other").create(pk=1, city="Rome")
    visitors = registry.get(Visitor)
    assert visitors is not None
    for using, city in (("default", "Oslo"), ("other", "Rome")):
        assert visitors.read(["1"], using=using)["1"].attributes["town"] == city
