"""Saves, deletes and log-ins leave the right rows in the queue, and nothing else does."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import django
import pytest
from django.apps import apps
from django.contrib.auth import user_logged_in
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.db.models.signals import post_delete, post_save, pre_delete
from django.test.utils import CaptureQueriesContext, modify_settings, override_settings
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from django_customerio import receivers
from django_customerio.models import OutboxMessage
from django_customerio.testing import live
from tests.shop.models import (
    VIP,
    Account,
    Customer,
    Donor,
    Employee,
    Member,
    Order,
    Partner,
    Patient,
    Person,
    Plan,
    Player,
    Reader,
    Regular,
    Seat,
    Subscription,
    Teacher,
    Visitor,
)

Said = Callable[..., list[tuple[str, ...]]]


@pytest.fixture
def said(db: None) -> Iterator[Said]:
    """Real rows are written; calling it returns those since the last call, and forgets them."""

    def since(*fields: str, using: str = "default") -> list[tuple[str, ...]]:
        rows = OutboxMessage.objects.using(using).order_by("id")
        found = list(rows.values_list(*(fields or ("kind", "person"))))
        rows.delete()
        return found

    with live():
        yield since


def of(customer: Customer) -> str:
    return f"id:{customer.uuid}"


class TestSaving:
    def test_create_and_change_queue_a_look_at_the_row(self, said: Said) -> None:
        """A state row names workspace, model, row and person."""
        fields = ("kind", "workspace", "model", "object_pk", "person", "body", "attribute_names")
        customer = Customer.objects.create_user("ada", "ada@example.com")
        expected = ("state", "default", "shop.customer", str(customer.pk), of(customer), "", "")
        assert said(*fields) == [expected]
        customer.first_name = "Ada"
        customer.save()
        assert said(*fields) == [expected]

    def test_one_insert_and_nothing_else(self, said: Said) -> None:
        """A save costs one statement more: no query of the person, its relations or code."""
        customer = Customer.objects.create_user("ada")
        said()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            customer.save()
        statements = [each["sql"].split()[0] for each in queries if "SAVEPOINT" not in each["sql"]]
        assert statements == ["UPDATE", "INSERT"]

    @pytest.mark.parametrize("fields", [["email"], ["uuid"], ["date_joined"], ["is_unsubscribed"]])
    def test_update_fields_that_are_mapped(self, said: Said, fields: list[str]) -> None:
        """A save of a mapped field counts, whatever the attribute is called over there."""
        customer = Customer.objects.create_user("ada")
        said()
        customer.save(update_fields=fields)
        assert said() == [("state", of(customer))]

    @pytest.mark.parametrize("fields", [["nickname"], ["password", "last_login"], []])
    def test_update_fields_that_are_not_mapped(self, said: Said, fields: list[str]) -> None:
        """A save that touches nothing mapped leaves no row."""
        customer = Customer.objects.create_user("ada")
        said()
        customer.save(update_fields=fields)
        assert said() == []

    def test_foreign_keys_by_name_and_attname(self, said: Said) -> None:
        """The local foreign key of a path counts under both of its names."""
        account = Account.objects.create(customer=Customer.objects.create_user("ada"))
        said()
        account.save(update_fields=["favourite"])
        account.save(update_fields=["favourite_id"])
        assert said() == [("state", f"id:{account.pk}")] * 2

    def test_partly_loaded_instances(self, said: Said) -> None:
        """Saving an instance with deferred fields saves, and judges, only those loaded."""
        pk = Customer.objects.create_user("ada").pk
        said()
        Customer.objects.only("nickname").get(pk=pk).save()
        assert said() == []
        Customer.objects.only("email").get(pk=pk).save()
        assert len(said()) == 1

    def test_raw_saves_are_ignored(self, said: Said, tmp_path: Any) -> None:
        """loaddata of a fixture says nothing."""
        path = tmp_path / "visitors.json"
        path.write_text(
            json.dumps([{"model": "shop.visitor", "pk": 7, "fields": {"city": "Oslo"}}])
        )
        call_command("loaddata", str(path), verbosity=0)
        assert Visitor.objects.get(pk=7).city == "Oslo"
        assert said() == []

    def test_proxies(self, said: Said) -> None:
        """A proxy's rows are its model's."""
        regular = Regular.objects.create_user("ada")
        assert said("model", "person") == [("shop.customer", of(regular))]
        regular.delete()
        assert said() == [("delete", of(regular))]

    def test_children(self, said: Said) -> None:
        """A multi-table child is told as the row of its mapped parent."""
        vip = VIP.objects.create_user("ada", level=3)
        assert said("model", "object_pk", "person") == [
            ("shop.customer", str(vip.pk), of(vip)),
        ]
        vip.save(update_fields=["level"])
        assert said() == []
        teacher = Teacher.objects.create(name="Ida", subject="Latin")
        assert said("model", "person") == [("shop.person", f"id:{teacher.pk}")]

    def test_registered_models(self, said: Said) -> None:
        """A model that carries no mixin is seen too."""
        visitor = Visitor.objects.create(city="Oslo")
        assert said("model", "person") == [("shop.visitor", f"id:{visitor.pk}")]

    def test_unmapped_models(self, said: Said) -> None:
        """Others leave no row, and keep Django's fast deletes."""
        Plan.objects.create(name="Pro").delete()
        Group.objects.create(name="staff").delete()
        assert said() == []
        for signal in (post_save, pre_delete, post_delete):
            assert not signal.has_listeners(Plan)
            assert not signal.has_listeners(Subscription)

    def test_without_an_id(self, said: Said) -> None:
        """Nobody can be told of while the id is empty."""
        reader = Reader.objects.create(email=None)
        reader.email = "  "
        reader.save()
        reader.delete()
        assert said() == []

    def test_ids_customerio_cannot_take(
        self, said: Said, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An impossible id is logged without its value, and does not break the save."""
        long = "ä" * 200 + "@example.com"
        with caplog.at_level(logging.ERROR, "django_customerio"):
            Reader(email=long, name="Ann").save()
        assert said() == []
        assert "shop.Reader" in caplog.text
        assert "ää" not in caplog.text

    def test_ids_by_their_canonical_text(self, said: Said) -> None:
        """An id set as text of another form is the same person as read back."""
        given = uuid.uuid4()
        customer = Customer(username="ada", uuid=str(given).replace("-", "").upper())
        customer.save()
        assert said() == [("state", f"id:{given}")]
        Visitor(pk="0012").save()
        assert said("object_pk", "person") == [("12", "id:12")]

    def test_email_ids(self, said: Said) -> None:
        """People known by address have the key of their address, whatever its case."""
        Reader.objects.create(email="Ann@Example.com")
        assert said("kind", "person")[0] == ("state", "email:ann@example.com")

    def test_composite_keys(self, said: Said) -> None:
        """A row with a composite key is named by JSON, its person by the named field."""
        Seat.objects.create(hall="A", number=3, holder="Ann")
        assert said("object_pk", "person") == [('["A", "3"]', "id:Ann")]

    def test_expressions(self, said: Said) -> None:
        """An id saved as an expression is read back."""
        seat = Seat.objects.create(hall="A", number=3, holder="Ann")
        said()
        seat.holder = Concat(F("holder"), Value("a"))
        seat.save()
        assert said() == [("state", "id:Anna")]

    def test_generated_ids(self, said: Said) -> None:
        """A generated id is that of the row, whichever the instance still shows."""
        player = Player.objects.create(handle="Ann")
        assert said() == [("state", "id:ann")]
        player.handle = "Bob"
        player.save()
        assert said() == [("state", "id:bob")]

    def test_soft_delete(self, said: Said) -> None:
        """A package that only hides the row is a save."""
        member = Member.objects.create(name="Ann")
        said()
        member.delete()
        assert said() == [("state", f"id:{member.pk}")]

    def test_rollback_takes_the_row_with_it(self, said: Said) -> None:
        """Savepoints included: what was undone was never said."""
        with transaction.atomic():
            Visitor.objects.create(city="Oslo")
            with transaction.atomic():
                Visitor.objects.create(city="Rome")
                transaction.set_rollback(True)
        assert said("person") == [(f"id:{Visitor.objects.get().pk}",)]

    def test_historical_models_say_nothing(self, said: Said) -> None:
        """The models of data migrations are not the site's."""
        state = ProjectState.from_apps(apps)
        historical = state.apps.get_model("shop", "Customer")
        old = historical.objects.create(username="old")
        old.save()
        old.delete()
        assert said() == []

    def test_other_changes_of_people(self, said: Said) -> None:
        """Relations and orders are rows of their own, which nobody mapped."""
        customer = Customer.objects.create_user("ada")
        said()
        customer.groups.add(Group.objects.create(name="g"))
        Order.objects.create(customer=customer, total=Decimal(1), placed_at=timezone.now())
        assert said() == []

    def test_models_that_lost_their_map(self, said: Said) -> None:
        """A signal of a model that is not mapped is none of ours."""
        plan = Plan.objects.create(name="Pro")
        receivers.saved(Plan, plan, created=True, using="default")
        receivers.deleting(Plan, plan, using="default")
        receivers.deleted(Plan, plan, using="default")
        assert said() == []


class TestOnCreate:
    def test_event_follows_the_state(self, said: Said) -> None:
        """The event comes after the person, names the row, and is of now."""
        reader = Reader.objects.create(email="ann@example.com")
        pk = str(reader.pk)
        rows = said("kind", "name", "person", "model", "object_pk", "body")
        assert [row[:5] for row in rows] == [
            ("state", "", "email:ann@example.com", "shop.reader", pk),
            ("event", "subscribed", "email:ann@example.com", "shop.reader", pk),
        ]
        body = json.loads(rows[1][5])
        assert body["identifiers"] == {"email": "ann@example.com"}
        assert abs(body["timestamp"] - timezone.now().timestamp()) < 60

    def test_later_saves_are_no_creation(self, said: Said) -> None:
        """Only the first save is one."""
        reader = Reader.objects.create(email="ann@example.com")
        said()
        reader.save()
        assert said("kind") == [("state",)]

    def test_when_is_not_asked_while_saving(self, said: Said) -> None:
        """User code runs in the sender; the event's row lets it ask."""
        employee = Employee.objects.create(name="Ann", consented=False)
        assert said("kind", "model", "object_pk") == [
            ("state", "shop.employee", str(employee.pk)),
            ("event", "shop.employee", str(employee.pk)),
        ]


class TestDeleting:
    def test_by_instance_and_by_queryset(self, said: Said) -> None:
        """Both say that the person is gone, by value: there is no row left to look at."""
        one, two = (Customer.objects.create_user(name) for name in ("ada", "bob"))
        said()
        one.delete()
        Customer.objects.all().delete()
        rows = said("kind", "person", "object_pk", "body")
        assert [row[:3] for row in rows] == [("delete", of(one), ""), ("delete", of(two), "")]
        assert json.loads(rows[0][3]) == {
            "type": "person",
            "action": "delete",
            "identifiers": {"id": str(one.uuid)},
        }

    def test_suppress_and_keep(self, said: Said) -> None:
        """on_delete chooses what is said."""
        patient, donor = Patient.objects.create(name="Ann"), Donor.objects.create(name="Bob")
        pk = patient.pk
        said()
        patient.delete()
        donor.delete()
        assert said() == [("suppress", f"id:{pk}")]

    def test_cascades(self, said: Said) -> None:
        """Rows that Django deletes along are people too."""
        customer = Customer.objects.create_user("ada")
        account = Account.objects.create(customer=customer)
        said()
        key = f"id:{account.pk}"
        customer.delete()
        assert sorted(said()) == sorted([("delete", key), ("delete", of(customer))])

    def test_children_delete_their_parent(self, said: Said) -> None:
        """Deleting the child deletes the mapped parent's row, once."""
        vip = VIP.objects.create_user("ada")
        teacher = Teacher.objects.create(name="Ida")
        key = f"id:{teacher.pk}"
        said()
        vip.delete()
        assert said() == [("delete", of(vip))]
        teacher.delete()
        assert said() == [("delete", key)]
        parent = Person.objects.get(pk=Teacher.objects.create(name="Eva").pk)
        key = f"id:{parent.pk}"
        said()
        parent.delete()
        assert said() == [("delete", key)]

    def test_keep_parents(self, said: Said) -> None:
        """A child that leaves its parent behind deletes nobody."""
        vip = VIP.objects.create_user("ada")
        said()
        vip.delete(keep_parents=True)
        assert said() == []
        assert Customer.objects.filter(uuid=vip.uuid).exists()

    def test_children_with_a_map_of_their_own(self, said: Said) -> None:
        """The same person lives on with the parent's row, and ends with it."""
        partner = Partner.objects.create_user("ada", company="Acme")
        assert said("model", "person") == [("shop.partner", of(partner))]
        partner.delete(keep_parents=True)
        assert said("kind", "model", "person") == [("state", "shop.customer", of(partner))]
        partner = Partner.objects.create_user("bob")
        said()
        partner.delete()
        assert said() == [("state", of(partner)), ("delete", of(partner))]

    def test_deferred_ids(self, said: Said) -> None:
        """An id that was not loaded is read before the row is gone, by one query."""
        customer = Customer.objects.create_user("ada")
        said()
        deferred = Customer.objects.only("username").get(pk=customer.pk)
        deferred.delete()
        assert said() == [("delete", of(customer))]

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="fetch modes are new in 6.1")
    def test_fetch_mode_raise(self, said: Said) -> None:
        """An instance that refuses to load fields is no obstacle."""
        customer = Customer.objects.create_user("ada")
        said()
        rows = Customer.objects.only("username").fetch_mode(models.FETCH_RAISE)
        row = rows.get(pk=customer.pk)
        row.delete()
        assert said() == [("delete", of(customer))]

    def test_after_a_change_of_the_instance_only(self, said: Said) -> None:
        """The instance leaves nothing of ours behind, and can be saved again."""
        visitor = Visitor.objects.create(city="Oslo")
        said()
        visitor.delete()
        assert not [name for name in vars(visitor) if "customerio" in name]
        visitor.save()
        assert [kind for kind, _ in said()] == ["delete", "state"]

    def test_order_within_a_transaction(self, said: Said) -> None:
        """Changed, then deleted: said in that order."""
        visitor = Visitor.objects.create()
        key = f"id:{visitor.pk}"
        visitor.delete()
        assert said() == [("state", key), ("delete", key)]

    def test_id_is_read_before_and_told_after_the_statement(self, said: Said) -> None:
        """In post_delete, not before: other writers' rows come first."""
        visitor = Visitor.objects.create()
        said()
        with CaptureQueriesContext(connection) as queries:
            visitor.delete()
        statements = [each["sql"].split()[0] for each in queries]
        assert statements.index("DELETE") < statements.index("INSERT")


class TestLoggingIn:
    def test_event(self, said: Said, client: Any) -> None:
        """A log-in is one event and no state, although Django saves last_login."""
        customer = Customer.objects.create_user("ada", password="pass")
        said()
        assert client.login(username="ada", password="pass")
        assert said("kind", "name", "person", "model", "object_pk") == [
            ("event", "logged_in", of(customer), "shop.customer", str(customer.pk))
        ]
        customer.refresh_from_db()
        assert customer.last_login is not None

    def test_lazy_and_proxy_users(self, said: Said) -> None:
        """request.user is a lazy object, and a user may be a proxy or a child."""
        customer = Customer.objects.create_user("ada")
        said()
        for user in (SimpleLazyObject(lambda: customer), Regular.objects.get(pk=customer.pk)):
            user_logged_in.send(sender=type(user), request=None, user=user)
            assert said("name", "person") == [("logged_in", of(customer))]

    def test_users_without_a_map_or_event(self, said: Said) -> None:
        """Somebody else's log-in is none of ours."""
        for user in (Reader.objects.create(email="ann@example.com"), Plan(name="x"), object()):
            said()
            receivers.logged_in(type(user), user=user)
            assert said() == []

    def test_users_without_an_id(self, said: Said) -> None:
        """Nobody can be told of while the id is empty."""
        receivers.logged_in(Customer, user=Customer(uuid=None))
        assert said() == []

    def test_where_it_is_written(self, said: Said) -> None:
        """A user read from a replica is told on the database that takes writes."""
        customer = Customer.objects.create_user("ada")
        said()
        customer._state.db = "replica"
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.ToPrimary"]):
            receivers.logged_in(Customer, user=customer)
        assert said("kind") == [("event",)]


class ToPrimary:
    """A router that reads from a replica and writes to the primary."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str:
        return "default"


class TestConnecting:
    def test_ready_twice(self, said: Said) -> None:
        """modify_settings runs ready() again; a save still leaves one row."""
        with modify_settings(INSTALLED_APPS={"append": "django.contrib.humanize"}):
            Visitor.objects.create()
        Visitor.objects.create()
        receivers.connect_all()
        Visitor.objects.create()
        assert [kind for kind, _ in said()] == ["state"] * 3


@pytest.mark.django_db(databases=["default", "other"])
def test_the_database_that_was_written() -> None:
    """The row is queued on the database that the signal names."""
    with live():
        visitor = Visitor.objects.using("other").create()
        other = OutboxMessage.objects.using("other")
        assert not OutboxMessage.objects.using("default").exists()
        assert [("state", f"id:{visitor.pk}")] == list(other.values_list("kind", "person"))
        visitor.delete()
        customer = Customer(username="ada")
        customer.save(using="other")
        user_logged_in.send(sender=Customer, request=None, user=customer)
        kinds = other.order_by("id").values_list("kind", flat=True)
        assert list(kinds) == ["state", "delete", "state", "event"]
        assert not OutboxMessage.objects.using("default").exists()
