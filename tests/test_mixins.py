"""The mixin changes nothing of a model but that its rows are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import UserManager
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, connections, models, transaction
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext, isolate_apps

from django_customerio import mixins
from django_customerio.accessors import PersonAccessor
from django_customerio.mapping import PersonMap, Registry
from django_customerio.mixins import CustomerIOMixin
from django_customerio.models import OutboxMessage
from django_customerio.testing import capture, live
from tests.shop.models import VIP, Customer, Lead, Plan, Regular, Visitor

SHOP = "tests.shop.models"
"""The module of models that a test defines: an app's own."""


def state_of(model: type[models.Model]) -> ProjectState:
    state = ProjectState(real_apps={"auth", "contenttypes"})
    state.add_model(ModelState.from_model(model))
    return state


class TestMigrations:
    def test_adding_the_mixin_is_no_change(self) -> None:
        """The autodetector finds nothing, with the constraints and indexes of other bases."""

        def define(*mixin: type[models.Model]) -> type[models.Model]:
            with isolate_apps("tests.shop"):

                class Base(models.Model):
                    __module__ = SHOP

                    name = models.CharField(max_length=10)

                    class Meta:
                        abstract = True
                        ordering = ["name"]
                        verbose_name = "somebody"
                        indexes = [models.Index(fields=["name"], name="by_name")]
                        constraints = [models.UniqueConstraint(fields=["name"], name="one_name")]

                class Someone(*mixin, Base):  # type: ignore[misc]
                    __module__ = SHOP

                    class CustomerIO:
                        attributes = ["name"]

                return Someone

        before, after = state_of(define()), state_of(define(CustomerIOMixin))
        assert MigrationAutodetector(before, after)._detect_changes() == {}
        assert MigrationAutodetector(after, before)._detect_changes() == {}
        assert before.models["shop", "someone"].options == after.models["shop", "someone"].options
        assert len(after.models["shop", "someone"].options["constraints"]) == 1

    def test_nothing_of_it_reaches_a_migration(self) -> None:
        """Neither a base, a field, a manager nor an option."""
        state = ModelState.from_model(Customer)
        assert all("customerio" not in repr(base).lower() for base in state.bases)
        assert [name for name, _ in state.managers] == ["objects"]

    def test_other_metas_stay(self) -> None:
        """AbstractUser's own Meta is what a user model behind the mixin gets."""
        assert Customer._meta.verbose_name == "user"
        assert not hasattr(CustomerIOMixin, "Meta")
        assert CustomerIOMixin._meta.abstract
        assert CustomerIOMixin._meta.get_fields() == ()

    def test_managers_stay(self) -> None:
        """create_user is still there."""
        assert isinstance(Customer.objects, UserManager)
        assert isinstance(Customer._default_manager, UserManager)


class TestInnerClass:
    def test_unknown_names(self) -> None:
        """The error names the class, the name and what is close to it."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

                class CustomerIO:
                    attribute = ["name"]

            with pytest.raises(ImproperlyConfigured) as caught:
                mixins.load(apps=isolated, site=Registry())
        for word in ("Someone.CustomerIO", "'attribute'", "Did you mean 'attributes'"):
            assert word in str(caught.value)

    def test_methods_of_maps_are_no_options(self) -> None:
        """An inner class says options only; a PersonMap may do more."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

                class CustomerIO:
                    label = "x"

            with pytest.raises(ImproperlyConfigured, match="'label'"):
                mixins.load(apps=isolated, site=Registry())

    def test_shared_options(self) -> None:
        """An inner class may have bases, private helpers, or be a PersonMap itself."""

        class Shared:
            _helper = 3
            on_delete = "keep"

        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

                name = models.CharField(max_length=10)

                class CustomerIO(Shared):
                    attributes = ["name"]

            class Another(CustomerIOMixin, models.Model):
                __module__ = SHOP

                class CustomerIO(PersonMap):
                    on_delete = "suppress"

            site = Registry()
            mixins.load(apps=isolated, site=site)
        assert [each.on_delete for each in site] == ["keep", "suppress"]
        someone = site.get(Someone)
        assert someone is not None
        assert [each.name for each in someone.bound_attributes] == ["name"]
        assert type(someone).__name__ == "SomeoneMap"

    def test_missing(self) -> None:
        """A model that has the mixin and says nothing is a mistake."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

            with pytest.raises(ImproperlyConfigured, match=r"Someone has CustomerIOMixin but no"):
                mixins.load(apps=isolated, site=Registry())

            site = Registry()
            site.register(Someone, PersonMap)
            mixins.load(apps=isolated, site=site)
            assert isinstance(Someone().customerio, PersonAccessor)

    def test_without_the_mixin(self) -> None:
        """An inner class that nothing reads is a mistake, unless the model is registered."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(models.Model):
                __module__ = SHOP

                class CustomerIO:
                    on_delete = "keep"

            with pytest.raises(ImproperlyConfigured, match=r"put CustomerIOMixin first"):
                mixins.load(apps=isolated, site=Registry())
            site = Registry()
            site.register(Someone, PersonMap)
            mixins.load(apps=isolated, site=site)

    def test_both_ways(self) -> None:
        """A model with an inner class that is registered as well has two maps."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

                class CustomerIO:
                    on_delete = "keep"

            site = Registry()
            site.register(Someone, PersonMap)
            with pytest.raises(ImproperlyConfigured, match=r"has a Customer\.io map already"):
                mixins.load(apps=isolated, site=site)

    def test_inheritance(self) -> None:
        """An abstract base's class counts for each model; a concrete parent's for its children."""
        with isolate_apps("tests.shop") as isolated:

            class Base(CustomerIOMixin, models.Model):
                __module__ = SHOP

                name = models.CharField(max_length=10)

                class Meta:
                    abstract = True

                class CustomerIO:
                    attributes = ["name"]

            class One(Base):
                __module__ = SHOP

            class Two(Base):
                __module__ = SHOP

            class ChildOfOne(One):
                __module__ = SHOP

            class ProxyOfOne(One):
                __module__ = SHOP

                class Meta:
                    proxy = True

            class OwnChildOfOne(One):
                __module__ = SHOP

                class CustomerIO:
                    on_delete = "keep"

            site = Registry()
            mixins.load(apps=isolated, site=site)
            mixins.load(apps=isolated, site=site)
        assert [each.model for each in site] == [One, Two, OwnChildOfOne]
        assert site.get(ChildOfOne) is site.get(ProxyOfOne) is site.get(One)

    def test_on_a_proxy(self) -> None:
        """A proxy cannot have a map of its own."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

                class CustomerIO:
                    pass

            class Proxy(Someone):
                __module__ = SHOP

                class Meta:
                    proxy = True

                class CustomerIO:
                    on_delete = "keep"

            with pytest.raises(ImproperlyConfigured, match="Proxy is a proxy"):
                mixins.load(apps=isolated, site=Registry())


class TestAccessor:
    def test_on_instances(self) -> None:
        """Instances of the model, its proxies and its children carry the verbs."""
        for model in (Customer, Regular, VIP):
            assert isinstance(model().customerio, PersonAccessor)
            assert not isinstance(model.customerio, PersonAccessor)

    def test_other_names(self) -> None:
        """accessor of the map names it."""
        lead = Lead()
        assert isinstance(lead.cio, PersonAccessor)  # type: ignore[attr-defined]
        assert not hasattr(lead, "customerio")
        assert not hasattr(Visitor(), "customerio")

    def test_none(self) -> None:
        """accessor = None asks for none."""
        with isolate_apps("tests.shop") as isolated:

            class Someone(CustomerIOMixin, models.Model):
                __module__ = SHOP

                class CustomerIO:
                    accessor = None

            mixins.load(apps=isolated, site=Registry())
            assert not hasattr(Someone(), "customerio")

    @pytest.mark.parametrize("kind", ["field", "method", "relation"])
    def test_names_that_are_taken(self, kind: str) -> None:
        """The model's own attribute is not overwritten; the error names the cure."""
        with isolate_apps("tests.shop") as isolated:
            if kind == "field":

                class Someone(CustomerIOMixin, models.Model):
                    __module__ = SHOP

                    customerio = models.CharField(max_length=10)

                    class CustomerIO:
                        pass

            elif kind == "method":

                class Someone(CustomerIOMixin, models.Model):  # type: ignore[no-redef]
                    __module__ = SHOP

                    def customerio(self) -> None: ...  # type: ignore[override]

                    class CustomerIO:
                        pass

            else:

                class Someone(CustomerIOMixin, models.Model):  # type: ignore[no-redef]
                    __module__ = SHOP

                    class CustomerIO:
                        pass

                class Other(models.Model):
                    __module__ = SHOP

                    someone = models.ForeignKey(
                        Someone, on_delete=models.CASCADE, related_name="customerio"
                    )

            with pytest.raises(ImproperlyConfigured, match=r'accessor = "cio"'):
                mixins.load(apps=isolated, site=Registry())


@pytest.fixture
def real_rows(transactional_db: None) -> Iterator[None]:
    with live():
        yield


def transactions(queries: CaptureQueriesContext) -> list[str]:
    words = ("BEGIN", "COMMIT", "SAVEPOINT", "ROLLBACK", "INSERT", "UPDATE")
    first = [each["sql"].split()[0].strip(";") for each in queries]
    return [each for each in first if each in words]


@pytest.mark.usefixtures("real_rows")
class TestSave:
    def test_autocommit(self) -> None:
        """Row and message commit together: a failing INSERT takes the row back."""

        def fail(**kwargs: Any) -> None:
            raise ZeroDivisionError

        post_save.connect(fail, sender=Customer, dispatch_uid="fail")
        try:
            with pytest.raises(ZeroDivisionError):
                Customer.objects.create_user("ada")
        finally:
            post_save.disconnect(sender=Customer, dispatch_uid="fail")
        assert not Customer.objects.exists()
        assert not OutboxMessage.objects.exists()
        Customer.objects.create_user("ada")
        assert OutboxMessage.objects.count() == 1

    def test_statements(self) -> None:
        """One transaction in autocommit; inside another, and for nothing mapped, none."""
        customer = Customer.objects.create_user("ada")
        with CaptureQueriesContext(connection) as queries:
            customer.save()
        assert transactions(queries) == ["BEGIN", "UPDATE", "INSERT", "COMMIT"]
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            customer.save()
        assert transactions(queries) == ["UPDATE", "INSERT"]
        with CaptureQueriesContext(connection) as queries:
            customer.save(update_fields=["nickname"])
        assert "INSERT" not in transactions(queries)
        assert transactions(queries) == bare_update()

    def test_switched_off(self) -> None:
        """atomic = False leaves the host's transactions alone."""
        lead = Lead.objects.create(name="Ann")
        with CaptureQueriesContext(connection) as queries:
            lead.save(force_update=True)
        assert transactions(queries) == [*bare_update(), "INSERT"]

    def test_manual_transactions(self) -> None:
        """With autocommit switched off the transaction is the caller's."""
        customer = Customer.objects.create_user("ada")
        transaction.set_autocommit(False)
        try:
            customer.first_name = "Ada"
            customer.save()
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        customer.refresh_from_db()
        assert customer.first_name == ""
        assert OutboxMessage.objects.count() == 1

    def test_arguments(self) -> None:
        """Those of Model.save go through, wherever they stand."""
        customer = Customer.objects.create_user("ada")
        with pytest.raises(IntegrityError):
            customer.save(force_insert=True)
        customer.first_name = customer.email = "x"
        customer.save(using="default", update_fields=["email"])
        customer.refresh_from_db()
        assert (customer.first_name, customer.email) == ("", "x")


def bare_update() -> list[str]:
    """What Django itself needs for the update of a model that nobody mapped."""
    plan = Plan.objects.create(name="x")
    with CaptureQueriesContext(connection) as queries:
        plan.save(update_fields=["name"])
    return transactions(queries)


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
def test_saving_to_another_database() -> None:
    """The transaction is opened where the row is written."""
    with live():
        customer = Customer(username="ada")
        with CaptureQueriesContext(connection) as queries:
            customer.save(using="other")
        assert len(queries) == 0
        assert Customer.objects.using("other").exists()
        assert OutboxMessage.objects.using("other").count() == 1


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django 6.0 takes keywords only")
@pytest.mark.django_db(databases=["default", "other"], transaction=True)
def test_positional_arguments() -> None:
    """Django 5.2 still takes them, with a warning of its own; they mean the same to us."""
    customer = Customer(username="ada")
    with live():
        with (
            pytest.warns(DeprecationWarning, match="positional"),
            CaptureQueriesContext(connection) as queries,
        ):
            customer.save(False, False, "other")
        assert len(queries) == 0
        with (
            pytest.warns(DeprecationWarning, match="positional"),
            CaptureQueriesContext(connections["other"]) as queries,
        ):
            customer.save(False, True, "other", ["nickname"])
        assert transactions(queries) == ["UPDATE"]
    assert OutboxMessage.objects.using("other").count() == 1


@pytest.mark.django_db
def test_the_verbs_of_an_instance() -> None:
    """Each is the function of the package root, with the instance as person."""
    customer = Customer.objects.create_user("ada", "ada@example.com")
    other = Customer.objects.create_user("bob")
    person = {"id": str(customer.uuid)}
    with capture() as said:
        verbs = customer.customerio
        verbs.identify({"level": 3})
        verbs.identify()
        verbs.track("bought", {"price": 3}, timestamp=1767312000)
        verbs.page("/pricing")
        verbs.screen("Pricing")
        verbs.add_device("token", "ios")
        verbs.delete_device("token")
        verbs.relate("acme")
        verbs.unrelate("acme")
        verbs.merge(other)
        verbs.suppress()
        verbs.unsuppress()
        verbs.delete()
        verbs.erase()
    kinds = [each.kind for each in said if each.person == person]
    assert kinds == [
        "identify", "identify", "event", "page", "screen", "add_device", "delete_device",
        "add_relationships", "delete_relationships", "merge", "suppress", "unsuppress", "delete",
        "suppress",
    ]  # fmt: skip
    assert said.events[0].json["timestamp"] == 1767312000


@pytest.mark.django_db(transaction=True)
def test_async_verbs() -> None:
    """They can be awaited."""
    customer = Customer.objects.create_user("ada")

    async def speak() -> None:
        await customer.customerio.atrack("bought")
        await customer.customerio.aidentify({"level": 3})

    with capture() as said:
        async_to_sync(speak)()
    assert [each.kind for each in said] == ["event", "identify"]


def test_verbs_on_the_class() -> None:
    """Without an instance there is nobody; documentation tools may look all the same."""
    assert PersonAccessor.track is vars(PersonAccessor)["track"]
    assert Customer.customerio is vars(Customer)["customerio"]
