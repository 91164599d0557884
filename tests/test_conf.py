"""Settings: both shapes, the environment, and errors that name the setting and the cure."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.test import override_settings
from django.utils.functional import lazystr
from django.utils.translation import gettext_lazy

from django_customerio import environment
from django_customerio.conf import Settings, get_settings, get_workspace
from django_customerio.validators import CONNECTION, GLOBAL

SECRET = "s3cr3t-v4lu3"


def built(**customerio: Any) -> Settings:
    """The settings made of this ``CUSTOMERIO``."""
    with override_settings(CUSTOMERIO=customerio):
        return get_settings()


def refusal(customerio: Any) -> str:
    """The text with which this ``CUSTOMERIO`` is refused."""
    with (
        override_settings(CUSTOMERIO=customerio),
        pytest.raises(ImproperlyConfigured) as caught,
    ):
        get_settings()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


class TestShapes:
    def test_one_workspace(self) -> None:
        """Connection keys at the top are the workspace "default"."""
        settings = built(SITE_ID="SITE", API_KEY=SECRET, APP_API_KEY="APP", REGION="eu")

        assert list(settings.workspaces) == ["default"]
        workspace = settings.workspaces["default"]
        assert workspace.alias == "default"
        assert (workspace.site_id, workspace.api_key, workspace.app_api_key) == (
            "SITE",
            SECRET,
            "APP",
        )
        assert workspace.configured
        assert workspace.track_url == "https://track-eu.customer.io"
        assert workspace.app_url == "https://api-eu.customer.io"

    def test_several_workspaces(self) -> None:
        """Each alias has its own connection, the rest is shared."""
        settings = built(
            WORKSPACES={"default": {"SITE_ID": "A", "API_KEY": "K"}, "brand_b": {"REGION": "eu"}},
            SENDER="command",
        )

        assert list(settings.workspaces) == ["default", "brand_b"]
        assert settings.workspaces["brand_b"].region == "eu"
        assert not settings.workspaces["brand_b"].configured
        assert settings.sender == "command"

    def test_defaults(self) -> None:
        """An empty setting is the documented defaults, without credentials."""
        settings = built()

        assert settings == Settings()
        assert settings.enabled is True
        assert settings.queue == "outbox"
        assert (settings.memory_size, settings.memory_seconds) == (100, 5.0)
        assert settings.memory_limit == 10_000
        assert settings.sender == "thread"
        assert settings.keep_sent == timedelta(days=30)
        assert settings.databases is None
        assert settings.release == ""
        assert settings.timeout == 10.0
        assert settings.retries == 3
        assert settings.retry_base == 1.0
        assert settings.retry_cap == 10.0
        assert settings.lease == 30.0
        workspace = settings.workspaces["default"]
        assert workspace.region == "us"
        assert workspace.track_url == "https://track.customer.io"
        assert workspace.app_url == "https://api.customer.io"
        assert not workspace.configured
        assert (workspace.site, workspace.key_hash) == ("", "")

    def test_every_key_is_taken(self) -> None:
        """Each accepted key changes the field of its name."""
        given = {
            "ENABLED": False,
            "QUEUE": "memory",
            "MEMORY_SIZE": 50,
            "MEMORY_SECONDS": 1.5,
            "MEMORY_LIMIT": 500,
            "SENDER": "immediate",
            "KEEP_SENT": None,
            "DATABASES": ["default", "other"],
            "RELEASE": "2026.11",
            "TIMEOUT": 4,
            "RETRIES": 5,
            "RETRY_BASE": 0.5,
            "RETRY_CAP": 7,
            "LEASE": 5,
        }
        settings = built(**given)

        assert given.keys() == GLOBAL.keys()
        expected = given | {"DATABASES": ("default", "other")}
        assert {key: getattr(settings, key.lower()) for key in given} == expected
        assert type(settings.timeout) is float
        assert type(settings.retries) is int

    def test_fields_and_keys_agree(self) -> None:
        """Nothing can be configured that is not a field, and the reverse."""
        assert {each.name.upper() for each in dataclasses.fields(Settings)} == {
            *GLOBAL,
            "WORKSPACES",
            "SHAPE",
        }
        workspace = built().workspaces["default"]
        assert {each.name.upper() for each in dataclasses.fields(workspace)} == {
            *CONNECTION,
            "ALIAS",
            "SITE",
            "KEY_HASH",
        }

    def test_own_addresses(self) -> None:
        """TRACK_URL and APP_URL replace the region's, without the trailing slash."""
        workspace = built(
            REGION="eu", TRACK_URL="http://127.0.0.1:8000/sandbox/", APP_URL="https://proxy.test/"
        ).workspaces["default"]

        assert workspace.track_url == "http://127.0.0.1:8000/sandbox"
        assert workspace.app_url == "https://proxy.test"

    def test_no_address(self) -> None:
        """None and the empty string stand for the region's address."""
        workspace = built(TRACK_URL=None, APP_URL="").workspaces["default"]

        assert workspace.track_url == "https://track.customer.io"
        assert workspace.app_url == "https://api.customer.io"

    def test_every_database(self) -> None:
        """None, the default, names no database."""
        assert built(DATABASES=None).databases is None

    def test_absent_credentials(self) -> None:
        """None, as os.environ.get() answers, is an absent credential."""
        assert built(SITE_ID=None, API_KEY=None).workspaces["default"].site_id == ""

    def test_stamps(self) -> None:
        """A site and a key are marked by 16 digits of their hash."""
        workspace = built(SITE_ID="SITE", API_KEY="KEY").workspaces["default"]

        assert workspace.site == hashlib.sha256(b"SITE").hexdigest()[:16]
        assert workspace.key_hash == hashlib.sha256(b"KEY").hexdigest()[:16]

    def test_lazy_strings(self) -> None:
        """Lazy strings are evaluated when the settings are read."""
        settings = built(SITE_ID=lazystr("SITE"), API_KEY=gettext_lazy("KEY"), SENDER="thread")

        assert type(settings.workspaces["default"].site_id) is str
        assert settings.workspaces["default"].api_key == "KEY"

    def test_a_dotted_sender(self) -> None:
        """SENDER takes a dotted path as it is."""
        assert built(SENDER="shop.senders.Mine").sender == "shop.senders.Mine"


class TestValues:
    def test_secrets_are_not_shown(self) -> None:
        """No repr shows a key."""
        settings = built(SITE_ID="SITE", API_KEY=SECRET, APP_API_KEY=SECRET)

        assert SECRET not in repr(settings)

    def test_frozen(self) -> None:
        """Settings cannot be changed, nor workspaces added."""
        settings = built()

        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.timeout = 1.0  # type: ignore[misc]
        with pytest.raises(TypeError):
            settings.workspaces["x"] = settings.workspaces["default"]  # type: ignore[index]

    def test_the_callers_lists_are_copied(self) -> None:
        """A list that is changed later does not change the settings."""
        aliases = ["default"]
        settings = built(DATABASES=aliases)
        aliases.append("other")

        assert settings.databases == ("default",)

    def test_cached(self) -> None:
        """Reading again answers the same object."""
        assert get_settings() is get_settings()

    def test_reset_by_setting_changed(self) -> None:
        """override_settings works, in and out, and other settings reset nothing."""
        before = get_settings()
        with override_settings(CUSTOMERIO={"TIMEOUT": 3}):
            assert get_settings().timeout == 3.0
        assert get_settings() == before
        kept = get_settings()
        setting_changed.send(object, setting="DEBUG", value=True, enter=True)
        assert get_settings() is kept

    def test_get_workspace(self) -> None:
        """A workspace is found by alias; "default" is the default."""
        with override_settings(CUSTOMERIO={"WORKSPACES": {"default": {}, "brand_b": {}}}):
            assert get_workspace().alias == "default"
            assert get_workspace("brand_b").alias == "brand_b"

    def test_get_workspace_unknown(self) -> None:
        """An unknown alias names the known ones and the closest."""
        with (
            override_settings(CUSTOMERIO={"WORKSPACES": {"default": {}, "brand_b": {}}}),
            pytest.raises(ImproperlyConfigured) as caught,
        ):
            get_workspace("brand_c")
        text = str(caught.value)
        assert 'no workspace "brand_c" (did you mean "brand_b"?)' in text
        assert '"default", "brand_b"' in text
        assert 'CUSTOMERIO["WORKSPACES"]' in text

    @pytest.mark.parametrize(
        ("customerio", "key", "expected"),
        [
            ({}, "REGION", 'CUSTOMERIO["REGION"]'),
            ({"WORKSPACES": {"b": {}}}, "REGION", 'CUSTOMERIO["WORKSPACES"]["b"]["REGION"]'),
            ({"WORKSPACES": {"b": {}}}, "SENDER", 'CUSTOMERIO["SENDER"]'),
        ],
    )
    def test_path(self, customerio: dict[str, Any], key: str, expected: str) -> None:
        """Messages name a setting as it is written."""
        assert built(**customerio).path(key, workspace="b") == expected


class TestRefused:
    @pytest.mark.parametrize(
        ("customerio", "expected"),
        [
            (None, "CUSTOMERIO must be a dict, not NoneType"),
            ([SECRET], "CUSTOMERIO must be a dict, not list"),
            ({1: SECRET}, "CUSTOMERIO has a key of type int. Its keys are"),
            (
                {"REGOIN": "us"},
                'CUSTOMERIO["REGOIN"] is not a setting here (did you mean "REGION"',
            ),
            ({"site_id": SECRET}, '(did you mean "SITE_ID"?)'),
            ({"WORKSPACE": {}}, '(did you mean "WORKSPACES"?)'),
            (
                {"WORKSPACES": {"default": {}}, "API_KEY": SECRET},
                'CUSTOMERIO["API_KEY"] stands beside CUSTOMERIO["WORKSPACES"]',
            ),
            ({"WORKSPACES": []}, 'CUSTOMERIO["WORKSPACES"] must be a dict of one or more'),
            ({"WORKSPACES": {}}, "not empty"),
            ({"WORKSPACES": {"b": None}}, 'CUSTOMERIO["WORKSPACES"]["b"] must be a dict'),
            ({"WORKSPACES": {"brand b": {}}}, "an alias that is no name"),
            ({"WORKSPACES": {"9b": {}}}, "an alias that is no name"),
            ({"WORKSPACES": {"b\n": {}}}, "an alias that is no name"),
            ({"WORKSPACES": {"b" * 65: {}}}, "1 to 64"),
            ({"WORKSPACES": {7: {}}}, "an alias that is no name"),
            (
                {"WORKSPACES": {"brand_b": {"REGION": "mars"}}},
                'CUSTOMERIO["WORKSPACES"]["brand_b"]["REGION"] has an unknown value. '
                'Accepted: "us", "eu".',
            ),
            (
                {"WORKSPACES": {"b": {"SENDER": "thread"}}},
                'CUSTOMERIO["WORKSPACES"]["b"]["SENDER"] is not a setting here. It holds for '
                'all workspaces: move it up to CUSTOMERIO["SENDER"].',
            ),
            ({"WORKSPACES": {"b": {"KEY": SECRET}}}, '(did you mean "API_KEY"?)'),
            ({"WORKSPACES": {"b": {2: SECRET}}}, 'CUSTOMERIO["WORKSPACES"]["b"] has a key of'),
        ],
    )
    def test_shape(self, customerio: Any, expected: str) -> None:
        """A wrong shape names the place and the cure."""
        assert expected in refusal(customerio)

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("API_KEY", SECRET.encode(), "must be a str, not bytes"),
            ("API_KEY", 12345, "must be a str, not int"),
            ("API_KEY", SECRET + "\n", "white space around it"),
            ("SITE_ID", " " + SECRET, "white space around it"),
            ("API_KEY", SECRET + "€", "outside of Latin-1"),
            ("APP_API_KEY", SECRET[:4] + "\r\n" + SECRET[4:], "a control character"),
            ("APP_API_KEY", SECRET + " x", "a space"),
            ("SITE_ID", f"SITE:{SECRET}", "holds a colon"),
            ("REGION", "EU", 'unknown value (did you mean "eu"?). Accepted: "us", "eu".'),
            ("REGION", None, "must be a str, not NoneType"),
            ("TRACK_URL", b"https://x.test", "must be a str, not bytes"),
            ("TRACK_URL", "track.customer.io", "must be an http:// or https:// address"),
            ("TRACK_URL", "ftp://x.test", "must be an http:// or https:// address"),
            ("TRACK_URL", "https://", "must be an http:// or https:// address"),
            ("TRACK_URL", "https://x.test:0", "must be an http:// or https:// address"),
            ("TRACK_URL", "https://x.test:99999", "is not a valid address"),
            ("APP_URL", f"https://[{SECRET}", "is not a valid address"),
            ("APP_URL", f"https://me:{SECRET}@x.test", "must not hold credentials"),
            ("APP_URL", f"https://{SECRET}@x.test", "must not hold credentials"),
            ("APP_URL", f"https://x.test/?key={SECRET}", "must not hold a query"),
            ("APP_URL", "https://x.test/#a", "must not hold a query or a fragment"),
            ("APP_URL", "https://x.test/a b", "white space"),
            ("APP_URL", "https://x.test/a\\b", "must be percent-encoded"),
            ("APP_URL", lazystr("https://x.test/v1"), "leave out /api/v1, /api/v2 or /v1"),
            ("TRACK_URL", "https://x.test/api/v2/", "leave out /api/v1, /api/v2 or /v1"),
            ("ENABLED", "False", "must be True or False, not str"),
            ("ENABLED", 1, "must be True or False, not int"),
            ("QUEUE", "celery", 'has an unknown value. Accepted: "outbox", "memory".'),
            ("MEMORY_SIZE", 0, "out of range. Give a whole number of messages from 1 to"),
            ("MEMORY_SIZE", 2.0, "must be a whole number, not float"),
            ("MEMORY_SECONDS", 0, "out of range. Give a number of seconds from 0.01 to 300."),
            ("MEMORY_LIMIT", True, "must be a whole number, not bool"),
            ("MEMORY_LIMIT", 1_000_001, "out of range"),
            (
                "SENDER",
                "cron",
                '"thread", "command", "celery", "tasks", "immediate" or the dotted',
            ),
            ("SENDER", "threads", '(did you mean "thread"?)'),
            ("SENDER", "a.b c", "has an unknown value"),
            ("SENDER", "a..b", "has an unknown value"),
            ("SENDER", object, "must be a str, not type"),
            ("KEEP_SENT", 30, "must be a timedelta or None, not int"),
            ("KEEP_SENT", timedelta(0), "must be longer than nothing"),
            ("DATABASES", "default", "must be a list or tuple of str"),
            ("DATABASES", ["default", 1], "must be a list or tuple of str"),
            ("DATABASES", [], "one or more aliases, each once"),
            ("DATABASES", ["a", "a"], "one or more aliases, each once"),
            ("RELEASE", 3, "must be a str, not int"),
            ("RELEASE", "x" * 65, "64 printable characters or fewer"),
            ("RELEASE", "a\nb", "64 printable characters or fewer"),
            ("TIMEOUT", True, "must be a number, not bool"),
            ("TIMEOUT", "10", "must be a number, not str"),
            ("TIMEOUT", 0, "out of range"),
            ("TIMEOUT", float("nan"), "out of range. Give a number of seconds from 0.1 to 300."),
            ("RETRIES", 3.0, "must be a whole number, not float"),
            ("RETRIES", -1, "out of range"),
            ("RETRY_BASE", -0.1, "out of range"),
            ("RETRY_CAP", float("inf"), "out of range"),
            ("LEASE", 4.9, "out of range. Give a number of seconds from 5 to 600."),
            ("LEASE", 601, "out of range"),
        ],
    )
    def test_value(self, key: str, value: Any, expected: str) -> None:
        """A wrong value names its setting, what is accepted and the cure, never the value."""
        text = refusal({key: value})

        assert text.startswith(f'CUSTOMERIO["{key}"] ')
        assert expected in text

    def test_a_size_over_the_limit(self) -> None:
        """MEMORY_SIZE must not exceed MEMORY_LIMIT, whichever of them was set."""
        text = refusal({"MEMORY_LIMIT": 50})

        assert 'CUSTOMERIO["MEMORY_SIZE"] (100) must not exceed' in text
        assert 'CUSTOMERIO["MEMORY_LIMIT"] (50)' in text

    def test_a_request_longer_than_the_lease(self) -> None:
        """TIMEOUT must be less than LEASE, whichever of them was set."""
        text = refusal({"LEASE": 10})

        assert 'CUSTOMERIO["TIMEOUT"] (10 s) must be less than CUSTOMERIO["LEASE"] (10 s)' in text
        assert built(LEASE=10.5).lease == 10.5

    def test_a_base_above_the_cap(self) -> None:
        """RETRY_BASE must not exceed RETRY_CAP."""
        text = refusal({"RETRY_BASE": 11})

        assert 'CUSTOMERIO["RETRY_BASE"] (11 s) must not exceed CUSTOMERIO["RETRY_CAP"]' in text
        assert built(RETRY_BASE=10).retry_base == 10.0


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without our variables, and no setting CUSTOMERIO."""
    for key in (*CONNECTION, *GLOBAL, "URL"):
        monkeypatch.delenv(f"CUSTOMERIO_{key}", raising=False)
    with override_settings():
        del django_settings.CUSTOMERIO
        get_settings.cache_clear()
        yield monkeypatch
    get_settings.cache_clear()


class TestEnvironment:
    def refusal(self) -> str:
        """The text with which the environment is refused."""
        with pytest.raises(ImproperlyConfigured) as caught:
            get_settings()
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return str(caught.value)

    def test_nothing_set(self, environ: pytest.MonkeyPatch) -> None:
        """An empty environment is the defaults."""
        assert get_settings() == dataclasses.replace(Settings(), shape="environment")

    def test_single_variables(self, environ: pytest.MonkeyPatch) -> None:
        """Each key has a variable, read as the setting's type."""
        given = {
            "SITE_ID": "SITE",
            "API_KEY": SECRET,
            "APP_API_KEY": "APP",
            "REGION": "eu",
            "TRACK_URL": "http://localhost:8000/",
            "APP_URL": "",
            "ENABLED": "off",
            "QUEUE": "memory",
            "MEMORY_SIZE": "50",
            "MEMORY_SECONDS": "1.5",
            "MEMORY_LIMIT": "500",
            "SENDER": "command",
            "KEEP_SENT": "7.5",
            "DATABASES": "default, other",
            "RELEASE": "1.2",
            "TIMEOUT": "2.5",
            "RETRIES": "0",
            "RETRY_BASE": "2",
            "RETRY_CAP": "20",
            "LEASE": "60",
        }
        assert given.keys() == CONNECTION.keys() | GLOBAL.keys()
        for key, value in given.items():
            environ.setenv(f"CUSTOMERIO_{key}", value)

        settings = get_settings()
        workspace = get_workspace()

        assert (workspace.site_id, workspace.api_key, workspace.app_api_key) == (
            "SITE",
            SECRET,
            "APP",
        )
        assert workspace.track_url == "http://localhost:8000"
        assert workspace.app_url == "https://api-eu.customer.io"
        assert settings.enabled is False
        assert settings.queue == "memory"
        assert (settings.memory_size, settings.memory_limit) == (50, 500)
        assert settings.memory_seconds == 1.5
        assert settings.sender == "command"
        assert settings.keep_sent == timedelta(days=7, hours=12)
        assert settings.databases == ("default", "other")
        assert settings.release == "1.2"
        assert (settings.timeout, settings.retries) == (2.5, 0)
        assert (settings.retry_base, settings.retry_cap, settings.lease) == (2.0, 20.0, 60.0)
        assert settings.path("REGION") == "CUSTOMERIO_REGION"

    def test_the_setting_wins(self, environ: pytest.MonkeyPatch) -> None:
        """Where the setting exists, the environment is not read."""
        environ.setenv("CUSTOMERIO_SITE_ID", "OTHER")

        assert built(API_KEY="KEY").workspaces["default"].site_id == ""

    @pytest.mark.parametrize("text", ["1", "true", "True", "YES", "on"])
    def test_true(self, environ: pytest.MonkeyPatch, text: str) -> None:
        """What counts as true."""
        environ.setenv("CUSTOMERIO_ENABLED", text)
        assert get_settings().enabled is True

    @pytest.mark.parametrize("text", ["none", "None", " NONE "])
    def test_no_ledger(self, environ: pytest.MonkeyPatch, text: str) -> None:
        """ "none" keeps no ledger."""
        environ.setenv("CUSTOMERIO_KEEP_SENT", text)
        assert get_settings().keep_sent is None

    def test_indirection(self, environ: pytest.MonkeyPatch) -> None:
        """A variable can point to another, as django-environ has it."""
        environ.setenv("MY_TIMEOUT", "3")
        environ.setenv("CUSTOMERIO_TIMEOUT", "$MY_TIMEOUT")
        assert get_settings().timeout == 3.0

    def test_one_line(self, environ: pytest.MonkeyPatch) -> None:
        """CUSTOMERIO_URL says it all, percent-decoded; a plus sign stays one."""
        environ.setenv(
            "CUSTOMERIO_URL",
            "customerio://SI%54E:a%2Fb%40c+d@eu?app_key=app%26key&sender=command&retries=1"
            "&keep_sent=none&track_url=http%3A%2F%2Flocalhost%3A8000",
        )
        settings = get_settings()
        workspace = get_workspace()

        assert (workspace.site_id, workspace.api_key) == ("SITE", "a/b@c+d")
        assert workspace.app_api_key == "app&key"
        assert workspace.region == "eu"
        assert workspace.track_url == "http://localhost:8000"
        assert (settings.sender, settings.retries) == ("command", 1)
        assert settings.keep_sent is None

    @pytest.mark.parametrize("line", ["customerio://SITE:KEY@", "customerio://SITE:KEY@us/"])
    def test_one_line_without_region(self, environ: pytest.MonkeyPatch, line: str) -> None:
        """Without a host the region is the default; a final slash does not matter."""
        environ.setenv("CUSTOMERIO_URL", line)
        assert get_workspace().region == "us"
        assert get_workspace().configured

    def test_single_variables_win_over_the_line(self, environ: pytest.MonkeyPatch) -> None:
        """A single variable replaces its part of the line."""
        environ.setenv("CUSTOMERIO_URL", "customerio://SITE:KEY@eu?sender=command&timeout=x")
        environ.setenv("CUSTOMERIO_SENDER", "immediate")
        environ.setenv("CUSTOMERIO_REGION", "us")
        environ.setenv("CUSTOMERIO_TIMEOUT", "3")

        assert get_settings().sender == "immediate"
        assert get_settings().timeout == 3.0
        assert get_workspace().region == "us"
        assert get_workspace().site_id == "SITE"

    def test_both_credentials_win_over_the_line(self, environ: pytest.MonkeyPatch) -> None:
        """Site id and API key together replace the line's."""
        environ.setenv("CUSTOMERIO_URL", "customerio://SITE:KEY@eu")
        environ.setenv("CUSTOMERIO_SITE_ID", "NEW")
        environ.setenv("CUSTOMERIO_API_KEY", "NEWKEY")
        assert (get_workspace().site_id, get_workspace().api_key) == ("NEW", "NEWKEY")

    def test_credentials_are_not_mixed(self, environ: pytest.MonkeyPatch) -> None:
        """One credential of each source is refused: they would not fit together."""
        environ.setenv("CUSTOMERIO_URL", f"customerio://SITE:{SECRET}@eu")
        environ.setenv("CUSTOMERIO_SITE_ID", "NEW")
        assert self.refusal().startswith("CUSTOMERIO_SITE_ID is set beside CUSTOMERIO_URL")

    def test_a_line_that_lacks_a_key(self, environ: pytest.MonkeyPatch) -> None:
        """A secret can be kept out of the line."""
        environ.setenv("CUSTOMERIO_URL", "customerio://SITE@eu")
        environ.setenv("CUSTOMERIO_API_KEY", SECRET)
        assert get_workspace().configured

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (f"https://SITE:{SECRET}@eu", "must begin with customerio://"),
            (f"customerio://SITE:{SECRET}%@eu", "percent sign that encodes nothing"),
            (f"customerio://SITE:{SECRET}%ff@eu", "not UTF-8"),
            (f"customerio://SITE:{SECRET}@[eu", "cannot be taken apart"),
            (f"customerio://SITE:{SECRET}@eu:80", "has a path, a port or a fragment"),
            (f"customerio://SITE:{SECRET}@eu/x", "has a path, a port or a fragment"),
            (f"customerio://SITE:{SECRET}@eu#x", "has a path, a port or a fragment"),
            (f"customerio://SITE:{SECRET}/x@eu", "has a path, a port or a fragment"),
            (f"customerio://SITE:{SECRET}@eu?sendr=x", '"sendr" in its query (did you mean "send'),
            (f"customerio://SITE:{SECRET}@eu?SENDER=x", '"SENDER" in its query'),
            (f"customerio://SITE:{SECRET}@eu?region=eu", '"region" in its query'),
            (f"customerio://SITE:{SECRET}@eu?retries=1&retries=2", 'names "retries" twice'),
            (f"customerio://SITE:{SECRET}@eu?retries=x", "CUSTOMERIO_URL (retries) is not a whol"),
            (f"customerio://SITE:{SECRET}@mars", "CUSTOMERIO_URL (region) has an unknown value"),
            ("customerio://SITE:%20KEY@eu", "CUSTOMERIO_URL (api_key) has white space"),
        ],
    )
    def test_wrong_line(self, environ: pytest.MonkeyPatch, line: str, expected: str) -> None:
        """A line that cannot be read says why, and does not repeat itself."""
        environ.setenv("CUSTOMERIO_URL", line)
        text = self.refusal()

        assert text.startswith("CUSTOMERIO_URL ")
        assert expected in text

    @pytest.mark.parametrize(
        ("key", "text", "expected"),
        [
            ("ENABLED", "flase", 'Accepted: "1", "true", "yes", "on", "0"'),
            ("TIMEOUT", "ten", "is not a number"),
            ("TIMEOUT", "nan", "out of range"),
            ("RETRIES", "1.5", "is not a whole number"),
            ("KEEP_SENT", "a month", 'Write days such as 30, or "none"'),
            ("KEEP_SENT", "1e99", "is no number of days"),
            ("KEEP_SENT", "nan", "is no number of days"),
            ("KEEP_SENT", "-1", "longer than nothing"),
            ("LEASE", "1", "from 5 to 600"),
            ("DATABASES", "default,default", "each once"),
            ("REGION", "mars", 'Accepted: "us", "eu"'),
            ("API_KEY", f"{SECRET} ", "white space"),
            ("SENDER", "cron", "has an unknown value"),
        ],
    )
    def test_wrong_variable(
        self, environ: pytest.MonkeyPatch, key: str, text: str, expected: str
    ) -> None:
        """A wrong variable is named, with what it accepts."""
        environ.setenv(f"CUSTOMERIO_{key}", text)
        message = self.refusal()

        assert message.startswith(f"CUSTOMERIO_{key} ")
        assert expected in message

    def test_a_short_lease_names_the_variables(self, environ: pytest.MonkeyPatch) -> None:
        """A default that does not fit is named as the variable that would change it."""
        environ.setenv("CUSTOMERIO_LEASE", "8")
        assert "CUSTOMERIO_TIMEOUT (10 s) must be less than CUSTOMERIO_LEASE (8" in self.refusal()

    def test_misspelt(self, environ: pytest.MonkeyPatch) -> None:
        """Only variables close to one of ours are suspected."""
        environ.setenv("CUSTOMERIO_REGOIN", "eu")
        environ.setenv("CUSTOMERIO_TIMEOUT", "3")
        environ.setenv("CUSTOMERIO_CDP_API_KEY", "somebody's own")
        environ.setenv("CUSTOMERIO_WRITE_TOKEN", "somebody's own")
        assert environment.misspelt() == {"CUSTOMERIO_REGOIN": "CUSTOMERIO_REGION"}
