"""System checks: each finds its fault, names the cure, and is silent where all is well."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth.models import AbstractUser
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections, models
from django.db.models.functions import Lower
from django.test import override_settings
from django.test.utils import isolate_apps

from django_customerio import attributes as attrs
from django_customerio.checks import TAG, check_maps, databases, maps, settings
from django_customerio.conf import get_settings
from django_customerio.mapping import PersonMap, registry
from django_customerio.mixins import CustomerIOMixin
from django_customerio.senders import Sender
from tests.shop.models import Account, Customer, Patient, Reader, Seat, Visitor

SECRET = "s3cr3t-v4lu3"
CREDENTIALS = {"SITE_ID": "SITE", "API_KEY": SECRET}


def run(**customerio: Any) -> list[checks.CheckMessage]:
    """What all our checks say of this ``CUSTOMERIO``."""
    with override_settings(CUSTOMERIO=customerio):
        found = checks.run_checks(tags=[TAG])
    for message in found:
        assert SECRET not in f"{message.msg}{message.hint}"
        assert message.hint
    return found


def ids(found: list[checks.CheckMessage]) -> list[str]:
    """The ids of the messages that are not about the shop's own maps."""
    return [str(message.id) for message in found if message.obj is None]


def only(found: list[checks.CheckMessage], wanted: str) -> str:
    """The text and hint of the one message, which has the wanted id."""
    (message,) = [each for each in found if each.obj is None or each.id == wanted]
    assert message.id == wanted
    kind = checks.Error if ".E" in wanted else checks.Warning
    assert type(message) is kind
    return f"{message.msg} {message.hint}"


class Mine(Sender):
    """A sender of a site's own."""


class TestSettings:
    def test_all_is_well(self) -> None:
        """Right settings with credentials are passed over."""
        assert ids(run(**CREDENTIALS, SENDER="command")) == []

    def test_wrong_setting(self) -> None:
        """A wrong setting is one error with the text that code would see, and no other."""
        text = only(run(**CREDENTIALS, REGOIN="us"), settings.WRONG_SETTING)
        assert 'CUSTOMERIO["REGOIN"] is not a setting here (did you mean "REGION"?)' in text

    def test_wrong_setting_stops_manage_py(self) -> None:
        """The command ``check`` fails on an error."""
        with (
            override_settings(CUSTOMERIO={"REGION": "mars"}),
            pytest.raises(SystemCheckError, match=r'CUSTOMERIO\["REGION"\]'),
        ):
            call_command("check", tags=[TAG])

    def test_no_credentials(self) -> None:
        """Without credentials a warning says that nothing is sent."""
        text = only(run(SENDER="command"), settings.NO_CREDENTIALS)
        assert 'CUSTOMERIO["SITE_ID"] and CUSTOMERIO["API_KEY"] are not set' in text
        assert "nothing is sent" in text

    def test_no_credentials_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the names are variables, it says so: they are no settings of Django's."""
        for name in [name for name in os.environ if name.startswith("CUSTOMERIO")]:
            monkeypatch.delenv(name)
        with override_settings():
            del django_settings.CUSTOMERIO
            get_settings.cache_clear()
            text = only(settings.check_settings(), settings.NO_CREDENTIALS)
        get_settings.cache_clear()
        assert "CUSTOMERIO_SITE_ID and CUSTOMERIO_API_KEY are not set" in text
        assert "Set both in the environment, or CUSTOMERIO in the settings" in text

    def test_no_credentials_of_one_workspace(self) -> None:
        """The workspace without credentials is named."""
        found = run(SENDER="command", WORKSPACES={"default": CREDENTIALS, "b": {}})
        text = only(found, settings.NO_CREDENTIALS)
        assert 'CUSTOMERIO["WORKSPACES"]["b"]["SITE_ID"]' in text

    def test_switched_off(self) -> None:
        """With ENABLED = False nobody asks for credentials."""
        assert ids(run(ENABLED=False)) == []

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"SITE_ID": "S"}, 'CUSTOMERIO["SITE_ID"] is set, but CUSTOMERIO["API_KEY"] is not'),
            ({"API_KEY": SECRET}, 'CUSTOMERIO["API_KEY"] is set, but CUSTOMERIO["SITE_ID"] is'),
        ],
    )
    def test_half_credentials(self, given: dict[str, str], expected: str) -> None:
        """One of the two credentials alone is an error."""
        found = run(SENDER="command", **given)
        assert expected in only(found, settings.HALF_CREDENTIALS)

    @pytest.mark.parametrize(
        ("line", "expected", "lacks"),
        [
            ("sandbox@us", "CUSTOMERIO_URL holds a site id and no API key", "API_KEY"),
            (f":{SECRET}@us", "CUSTOMERIO_URL holds an API key and no site id", "SITE_ID"),
        ],
    )
    def test_half_a_line(
        self, monkeypatch: pytest.MonkeyPatch, line: str, expected: str, lacks: str
    ) -> None:
        """Where one line was set, it is the one that is named."""
        for name in [name for name in os.environ if name.startswith("CUSTOMERIO")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("CUSTOMERIO_URL", f"customerio://{line}")
        with override_settings():
            del django_settings.CUSTOMERIO
            get_settings.cache_clear()
            text = only(settings.check_settings(), settings.HALF_CREDENTIALS)
        get_settings.cache_clear()
        assert text.startswith(f"{expected}, nor is CUSTOMERIO_{lacks} set.")
        assert "Write customerio://SITE_ID:API_KEY@REGION, or set" in text
        assert SECRET not in text

    def test_half_in_a_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable of its own is named, not the line."""
        for name in [name for name in os.environ if name.startswith("CUSTOMERIO")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("CUSTOMERIO_SITE_ID", "S")
        with override_settings():
            del django_settings.CUSTOMERIO
            get_settings.cache_clear()
            text = only(settings.check_settings(), settings.HALF_CREDENTIALS)
        get_settings.cache_clear()
        assert text.startswith("CUSTOMERIO_SITE_ID is set, but CUSTOMERIO_API_KEY is not.")

    def test_shared_site(self) -> None:
        """Two aliases of one workspace are warned of; two without credentials are not one."""
        both = {"default": CREDENTIALS, "b": CREDENTIALS, "c": {"SITE_ID": "X", "API_KEY": "Y"}}
        text = only(run(SENDER="command", WORKSPACES=both), settings.SHARED_SITE)
        assert "default, b have the same SITE_ID" in text
        neither = run(SENDER="command", WORKSPACES={"default": {}, "b": {}})
        assert ids(neither) == [settings.NO_CREDENTIALS] * 2

    @pytest.mark.parametrize(
        ("sender", "expected"),
        [
            ("tests.nowhere.Mine", "cannot be imported (ModuleNotFoundError"),
            ("tests.test_checks.Missing", "cannot be imported (ImportError"),
            ("tests.test_checks.PersonMap", "is not a subclass of django_customerio.senders"),
            ("tests.test_checks.only", "is not a subclass of django_customerio.senders"),
        ],
    )
    def test_unusable_sender(self, sender: str, expected: str) -> None:
        """A dotted sender must lead to a Sender class."""
        text = only(run(**CREDENTIALS, SENDER=sender), settings.UNUSABLE_SENDER)
        assert text.startswith('CUSTOMERIO["SENDER"] ')
        assert expected in text

    def test_usable_sender(self) -> None:
        """A Sender class of one's own is taken."""
        assert ids(run(**CREDENTIALS, SENDER="tests.test_checks.Mine")) == []

    @pytest.mark.parametrize(
        ("url", "is_safe"),
        [
            ("http://localhost:8000", True),
            ("http://cio.localhost", True),
            ("http://127.0.0.2:8000", True),
            ("http://[::1]:8000", True),
            ("https://proxy.test", True),
            ("http://proxy.test", False),
            ("http://10.0.0.1", False),
            ("http://localhost.test", False),
        ],
    )
    def test_plain_http(self, url: str, is_safe: bool) -> None:
        """Plain http:// is for loopback addresses, whichever API it is."""
        for key in ("TRACK_URL", "APP_URL"):
            found = run(**CREDENTIALS, SENDER="command", **{key: url})
            if is_safe:
                assert ids(found) == []
            else:
                assert f'CUSTOMERIO["{key}"]' in only(found, settings.PLAIN_HTTP)

    def test_plain_http_is_a_matter_of_security(self) -> None:
        """``check --tag security`` reports it."""
        with override_settings(CUSTOMERIO={**CREDENTIALS, "TRACK_URL": "http://proxy.test"}):
            found = checks.run_checks(tags=[checks.Tags.security])
        assert [each.id for each in found] == [settings.PLAIN_HTTP]

    def test_misspelt_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A misspelt variable is found, but only where the environment is read."""
        monkeypatch.setenv("CUSTOMERIO_REGOIN", "eu")
        assert settings.check_environment() == []
        with override_settings():
            del django_settings.CUSTOMERIO
            get_settings.cache_clear()
            (found,) = settings.check_environment()
        get_settings.cache_clear()
        assert found.id == settings.MISSPELT_VARIABLE
        assert "CUSTOMERIO_REGOIN is not read. Did you mean CUSTOMERIO_REGION?" in found.msg


class Router:
    """Keeps some apps off some databases, and says where models are written."""

    def __init__(self, *, refused: set[tuple[str, str]], written: str | None = None) -> None:
        self.refused = refused
        self.written = written

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if (db, app_label) in self.refused else None

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return self.written


@pytest.fixture
def add_database() -> Iterator[Any]:
    """Adds an alias to DATABASES, and takes it away again."""
    added = []

    def add(alias: str, **config: Any) -> None:
        configured = connections.configure_settings({"default": {}, alias: config})
        connections.settings[alias] = configured[alias]
        added.append(alias)

    yield add
    for alias in added:
        with contextlib.suppress(AttributeError):  # nobody asked for the connection
            del connections[alias]
        del connections.settings[alias]


class TestDatabases:
    def run(self, router: Router | None = None, **customerio: Any) -> list[checks.CheckMessage]:
        """What the checks say with this router."""
        with override_settings(DATABASE_ROUTERS=[router] if router else []):
            return run(**CREDENTIALS, **({"SENDER": "command"} | customerio))

    def test_named_databases(self) -> None:
        """Aliases that exist are taken; one left out is no fault where no rows are written."""
        assert ids(self.run(DATABASES=["default", "other"])) == []
        assert ids(self.run(DATABASES=["default"])) == []

    def test_unknown_database(self) -> None:
        """An alias that the project lacks is named with the closest that it has."""
        found = self.run(DATABASES=["default", "othr"])
        text = only(found, databases.UNKNOWN_DATABASE)
        assert 'CUSTOMERIO["DATABASES"] names "othr"' in text
        assert '(did you mean "other"?)' in text

    def test_a_router_keeps_the_outbox_off(self) -> None:
        """Mapped models may be saved on a database on which the router forbids our tables."""
        router = Router(refused={("other", "django_customerio")})
        text = only(self.run(router), databases.NO_OUTBOX)
        assert 'on the database "other", which has no outbox' in text
        assert "shop.customer, " in text
        assert "allow_migrate()" in text

    def test_a_router_keeps_both_off(self) -> None:
        """Where no mapped model can be saved either, no outbox is missed."""
        router = Router(refused={("other", "django_customerio"), ("other", "shop")})
        assert ids(self.run(router)) == []

    def test_databases_leave_it_out_on_purpose(self) -> None:
        """An alias that DATABASES leaves out is not missed, as long as rows go elsewhere."""
        router = Router(refused={("other", "django_customerio")})
        assert ids(self.run(router, DATABASES=["default"])) == []

    def test_rows_are_written_where_no_outbox_is(self) -> None:
        """DATABASES must name the alias on which mapped rows are written."""
        router = Router(refused=set(), written="other")
        text = only(self.run(router, DATABASES=["default"]), databases.NO_OUTBOX)
        assert 'on the database "other"' in text

    def test_a_named_database_is_refused_by_the_router(self) -> None:
        """DATABASES and the router must agree."""
        router = Router(refused={("other", "django_customerio")})
        found = self.run(router, DATABASES=["default", "other"])
        text = only(found, databases.NO_OUTBOX)
        assert 'CUSTOMERIO["DATABASES"] names "other", but a database router' in text

    def test_unsupported_database(self, add_database: Any) -> None:
        """A database of another vendor cannot hold the outbox, unless it is left out."""
        add_database("legacy", ENGINE="django.db.backends.dummy")
        text = only(self.run(), databases.UNSUPPORTED_DATABASE)
        assert '"legacy"' in text
        assert '"unknown" is not supported' in text
        assert ids(self.run(DATABASES=["default", "other"])) == []

    @pytest.mark.parametrize("mode", ["IMMEDIATE", "exclusive"])
    def test_sqlite_that_waits(self, add_database: Any, mode: str) -> None:
        """SQLite with a transaction mode that waits is fine."""
        options = {"transaction_mode": mode}
        add_database("lite", ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS=options)
        router = Router(refused=set(), written="lite")
        assert ids(self.run(router, SENDER="thread")) == []

    @pytest.mark.parametrize("options", [{}, {"transaction_mode": "DEFERRED"}])
    def test_sqlite_that_does_not_wait(self, add_database: Any, options: Any) -> None:
        """Else the thread acts as immediate, or a save's transaction can fail: one warning."""
        add_database("lite", ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS=options)
        router = Router(refused=set(), written="lite")
        thread = only(self.run(router, SENDER="thread"), databases.SQLITE_THREAD)
        atomic = only(self.run(router, SENDER="command"), databases.SQLITE_ATOMIC)
        assert 'acts as "immediate"' in thread
        assert "So can saving shop.customer, " in thread
        assert "Saving shop.customer, " in atomic
        for text in (thread, atomic):
            assert 'Set DATABASES["lite"]["OPTIONS"]["transaction_mode"] to "IMMEDIATE"' in text
            # Only the mixin's save() opens a transaction, and not where the map says no.
            assert "shop.visitor" not in text
            assert "shop.lead" not in text

    def test_sqlite_of_nobody(self, add_database: Any) -> None:
        """Other senders and databases without mapped rows need no mode; nor who is off."""
        add_database("lite", ENGINE="django.db.backends.sqlite3", NAME=":memory:")
        assert ids(self.run(SENDER="command")) == []
        thread = only(self.run(SENDER="thread"), databases.SQLITE_THREAD)
        assert "saving" not in thread
        assert ids(self.run(SENDER="thread", ENABLED=False)) == []


def check(model: type[models.Model], **options: Any) -> dict[str, str]:
    """What is wrong with a map of these options, as text and hint by id."""
    made = type("Map", (PersonMap,), options)(model)
    found = maps.check_map(made)
    assert all(message.obj is model for message in found)
    assert len({message.id for message in found}) == len(found)
    return {str(message.id): f"{message.msg} {message.hint}" for message in found}


class TestMaps:
    def test_the_shop(self) -> None:
        """Our own shop has one id that may be NULL, and two that may repeat."""
        found = maps.check_maps()
        assert [(each.id, each.obj) for each in found] == [
            (maps.NULLABLE_ID, Reader),
            (maps.REPEATABLE_ID, Reader),
            (maps.REPEATABLE_ID, Seat),
        ]

    def test_one_app(self) -> None:
        """``manage.py check app`` looks at the maps of that app only."""
        assert len(maps.check_maps(app_configs=[apps.get_app_config("shop")])) == 3
        assert maps.check_maps(app_configs=[apps.get_app_config("auth")]) == []

    def test_registered(self) -> None:
        """The maps are checked with Django's tag "models" and with ours."""
        assert maps.NULLABLE_ID in {each.id for each in checks.run_checks(tags=[TAG])}
        (check,) = [each for each in checks.registry.registry.get_checks() if each == check_maps]
        assert set(check.tags) == {checks.Tags.models, TAG}

    def test_all_is_well(self) -> None:
        """A right map is passed over, with fields, relations, properties and callables."""
        assert registry.get(Customer) is not None
        assert (
            check(
                Customer,
                id="uuid",
                attributes=[
                    "email",
                    attrs.String("plan", source="subscription__plan__name"),
                    attrs.String("name", source="get_full_name"),
                    attrs.Number("orders", source=len, depends_on=["orders", "email"]),
                ],
                select_related=["subscription__plan"],
                prefetch_related=["orders__customer", models.Prefetch("groups")],
                on_create="signed_up",
            )
            == {}
        )

    def test_unknown_attributes(self) -> None:
        """Each wrong attribute is told, not just the first, with the closest fields."""
        wrong = ["emial", "email", attrs.String("x", source="subscription__plam"), "uid"]
        person_map = type("Map", (PersonMap,), {"attributes": wrong})(Customer)
        first, second, third = maps.check_map(person_map)

        assert {first.id, second.id, third.id} == {maps.WRONG_ATTRIBUTE}
        assert "shop.Customer" in first.msg
        assert "'emial'" in first.msg
        assert "Did you mean 'email'?" in first.msg
        assert "'x' of the Customer.io map of shop.Customer reads 'plam'" in second.msg
        assert "Did you mean 'uuid'" in third.msg

    @isolate_apps("tests.shop")
    def test_a_field_without_json(self) -> None:
        """A field that no JSON can say is refused before the first save."""

        class Blob(models.Model):
            data = models.BinaryField()

            class Meta:
                app_label = "shop"

        assert "holds bytes" in check(Blob, attributes=["data"])[maps.WRONG_ATTRIBUTE]

    def test_unknown_id(self) -> None:
        """An id that is no field is told with the closest."""
        found = check(Customer, id="uid", attributes=["email"])
        assert list(found) == [maps.WRONG_ID]
        assert "shop.Customer" in found[maps.WRONG_ID]
        assert "Did you mean 'uuid'" in found[maps.WRONG_ID]

    def test_composite_key(self) -> None:
        """A composite primary key needs one field that is named."""
        assert "is composite" in check(Seat)[maps.WRONG_ID]

    def test_nullable_id(self) -> None:
        """An id that may be NULL is an error that can be silenced on purpose."""
        found = check(Reader, id="email")
        assert "'email', which may be NULL" in found[maps.NULLABLE_ID]
        assert "SILENCED_SYSTEM_CHECKS" in found[maps.NULLABLE_ID]

    def test_repeatable_id(self) -> None:
        """An id that is not unique is warned of."""
        found = check(Visitor, id="email")
        assert list(found) == [maps.REPEATABLE_ID]
        assert "shop.Visitor is 'email', which is not unique" in found[maps.REPEATABLE_ID]

    @pytest.mark.parametrize(
        ("options", "is_unique"),
        [
            ({"unique_together": [("email",)]}, True),
            ({"unique_together": [("email", "city")]}, False),
            ({"constraints": [models.UniqueConstraint(fields=["email"], name="a")]}, True),
            ({"constraints": [models.UniqueConstraint(Lower("email"), name="b")]}, True),
            ({"constraints": [models.UniqueConstraint(fields=["city"], name="c")]}, False),
            (
                {"constraints": [models.UniqueConstraint(fields=["email", "city"], name="d")]},
                False,
            ),
            (
                {
                    "constraints": [
                        models.CheckConstraint(condition=~models.Q(email=""), name="e"),
                        models.UniqueConstraint(
                            fields=["email"], condition=~models.Q(email=""), name="f"
                        ),
                    ]
                },
                True,
            ),
        ],
    )
    @isolate_apps("tests.shop")
    def test_unique_by_constraint(self, options: dict[str, Any], is_unique: bool) -> None:
        """A constraint on the field alone keeps people apart as well."""

        class Guest(models.Model):
            email = models.EmailField()
            city = models.CharField(max_length=50)
            Meta = type("Meta", (), {"app_label": "shop", **options})

        assert (maps.REPEATABLE_ID not in check(Guest, id="email")) is is_unique

    def test_own_key_of_a_relation(self) -> None:
        """A one-to-one relation as primary key identifies."""
        assert check(Account) == {}

    def test_repeated_attribute(self) -> None:
        """Two attributes of one name are told once."""
        found = check(Visitor, attributes=["email", attrs.String("email", source="city")])
        assert list(found) == [maps.REPEATED_ATTRIBUTE]
        assert (
            "'email' of the Customer.io map of shop.Visitor is listed 2 times"
            in (found[maps.REPEATED_ATTRIBUTE])
        )

    def test_too_many_attributes(self) -> None:
        """Customer.io takes 300 attributes of a person."""
        many = [attrs.String(f"a{number}", source="city") for number in range(301)]
        assert check(Visitor, attributes=many[:300]) == {}
        found = check(Visitor, attributes=many)
        assert "has 301 attributes; Customer.io takes 300" in found[maps.TOO_MANY_ATTRIBUTES]

    def test_unknown_dependency(self) -> None:
        """``depends_on`` names fields and relations of the model."""
        attribute = attrs.Number("n", source=len, depends_on=["order", "email"])
        found = check(Customer, id="uuid", attributes=[attribute])
        assert list(found) == [maps.WRONG_DEPENDENCY]
        assert "depends on 'order'" in found[maps.WRONG_DEPENDENCY]
        assert "Did you mean 'orders'?" in found[maps.WRONG_DEPENDENCY]

    @pytest.mark.parametrize(
        ("option", "path", "expected"),
        [
            ("select_related", "subscripton", "Did you mean 'subscription'?"),
            ("select_related", "subscription__plam", "shop.Subscription has no relation 'plam'"),
            ("select_related", "email", "has no relation 'email'"),
            ("prefetch_related", "order", "Did you mean 'orders'?"),
            ("prefetch_related", models.Prefetch("orders__custome"), "shop.Order has no"),
        ],
    )
    def test_unknown_relation(self, option: str, path: Any, expected: str) -> None:
        """A relation that does not exist would fail at sending."""
        found = check(Customer, id="uuid", **{option: [path]})
        assert list(found) == [maps.WRONG_RELATION]
        assert f"{option} of the Customer.io map of shop.Customer" in found[maps.WRONG_RELATION]
        assert expected in found[maps.WRONG_RELATION]

    @isolate_apps("tests.shop", "django.contrib.contenttypes")
    def test_relations_that_lead_anywhere(self) -> None:
        """A generic relation, or what hangs on the class to be prefetched, is not followed."""
        from django.contrib.contenttypes.fields import GenericForeignKey
        from django.contrib.contenttypes.models import ContentType

        class Tagged(models.Model):
            content_type = models.ForeignKey(ContentType, models.CASCADE)
            object_id = models.PositiveIntegerField()
            target = GenericForeignKey()
            extra = property(lambda self: None)

            class Meta:
                app_label = "shop"

        assert check(Tagged, prefetch_related=["target__anything", "extra__more"]) == {}

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("x" * 101, "has 101 bytes; Customer.io takes 100"), (" ", "The name is blank")],
    )
    def test_wrong_event_name(self, name: str, expected: str) -> None:
        """An event's name must fit."""
        found = check(Customer, id="uuid", on_create=name)
        assert list(found) == [maps.WRONG_EVENT_NAME]
        assert found[maps.WRONG_EVENT_NAME].startswith("on_create of the Customer.io map of")
        assert expected in found[maps.WRONG_EVENT_NAME]

    def test_log_in_of_no_user(self) -> None:
        """Only rows of the user model log in."""
        found = check(Patient, on_login="logged_in")
        assert list(found) == [maps.NO_LOG_IN]
        assert "those who log in are shop.Customer" in found[maps.NO_LOG_IN]

    @pytest.mark.parametrize("on_login", [None, "logged_in"])
    def test_a_site_without_users(self, on_login: str | None) -> None:
        """It need not have an app that brings a user model."""
        with override_settings(AUTH_USER_MODEL="accounts.User"):
            found = check(Patient, on_login=on_login)
        assert list(found) == ([maps.NO_LOG_IN] if on_login else [])

    def test_unknown_workspace(self) -> None:
        """A map's workspace must be one of the setting's."""
        found = check(Visitor, workspace="brand_b")
        assert list(found) == [maps.UNKNOWN_WORKSPACE]
        assert 'no workspace "brand_b"' in found[maps.UNKNOWN_WORKSPACE]
        with override_settings(CUSTOMERIO={"WORKSPACES": {"brand_b": {}}}):
            assert check(Visitor, workspace="brand_b") == {}

    def test_workspace_while_settings_are_wrong(self) -> None:
        """Wrong settings are told once, not of each map again."""
        with override_settings(CUSTOMERIO={"REGION": "mars"}):
            assert check(Visitor, workspace="brand_b") == {}


class TestSave:
    """The transaction of the mixin's save()."""

    def found(self, *bases: type[models.Model], **options: Any) -> str:
        """What is said of a model with these bases."""
        body: dict[str, Any] = {"__module__": "tests.shop.models"}
        if save := options.pop("save", None):
            body["save"] = save
        with isolate_apps("tests.shop", "django.contrib.auth", "django.contrib.contenttypes"):
            model: Any = type("Someone", bases, body)
            found = check(model, **options)
        assert set(found) <= {maps.UNREACHED_SAVE}
        return found.get(maps.UNREACHED_SAVE, "")

    def polite(self) -> type[models.Model]:
        """A base whose save() calls the next one."""

        class Polite(models.Model):
            class Meta:
                abstract = True
                app_label = "shop"

            def save(self, *args: Any, **kwargs: Any) -> None:
                super().save(*args, **kwargs)

        return Polite

    def rude(self) -> type[models.Model]:
        """A base whose save() does not."""

        class Rude(models.Model):
            class Meta:
                abstract = True
                app_label = "shop"

            def save(self, *args: Any, **kwargs: Any) -> None:
                self.save_base()

        return Rude

    def test_the_mixin_first(self) -> None:
        """Whatever the bases behind it do is in the transaction."""
        for base in (self.polite(), self.rude()):
            assert self.found(CustomerIOMixin, base) == ""

    def test_the_mixin_behind_a_base(self) -> None:
        """What that base saves is outside of it: the model and the cure are named."""
        text = self.found(self.polite(), CustomerIOMixin)
        assert "shop.Someone: the save() of Polite comes before that of CustomerIOMixin" in text
        assert "List CustomerIOMixin first among the bases." in text

    def test_behind_the_abstract_user(self) -> None:
        """The order that is easily written."""
        text = self.found(AbstractUser, CustomerIOMixin)
        assert "the save() of AbstractBaseUser comes before" in text

    def test_a_save_that_ends_there(self) -> None:
        """Then the mixin's is never called."""
        text = self.found(self.rude(), CustomerIOMixin)
        assert "the save() of Rude does not call super().save()" in text
        assert "is not reached" in text
        assert "list CustomerIOMixin first" in text

    def test_a_save_of_the_model_itself(self) -> None:
        """It is the outermost by right, but must call the next one."""

        def rude(self: models.Model) -> None:
            self.save_base()

        def explicit(self: models.Model) -> None:
            CustomerIOMixin.save(self)  # type: ignore[arg-type]

        text = self.found(CustomerIOMixin, save=rude)
        assert "the save() of Someone does not call super().save()" in text
        assert "Call super().save() there. If" in text
        assert self.found(CustomerIOMixin, save=explicit) == ""
        assert self.found(CustomerIOMixin, save=functools.partialmethod(explicit)) == ""

    def test_no_transaction_is_wanted(self) -> None:
        """With atomic = False the mixin's save() does nothing that could be missed."""
        assert self.found(self.rude(), CustomerIOMixin, atomic=False) == ""

    def test_without_the_mixin(self) -> None:
        """A registered model has no such save()."""
        assert self.found(self.rude()) == ""


def test_ids_are_distinct() -> None:
    """No two faults share an id, and each is told apart by its letter."""
    found = [
        value
        for module in (settings, databases, maps)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and value.startswith("django_customerio.")
    ]
    assert len(found) == len(set(found)) == 25
