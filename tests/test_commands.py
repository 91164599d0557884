"""The management commands."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command, load_command_class
from django.db import OperationalError, connections
from django.utils import timezone

from django_customerio import fingerprints, lanes
from django_customerio.clock import now_ms
from django_customerio.conf import get_workspace
from django_customerio.ids import new_ulid
from django_customerio.management import diagnosis
from django_customerio.management import options as shared
from django_customerio.management.commands import (
    customerio_prune,
    customerio_status,
    flush_customerio,
)
from django_customerio.management.stopping import Stopper
from django_customerio.messages import lane_of
from django_customerio.models import Fingerprint, Lane, OutboxMessage, SentMessage, WorkspaceStatus
from tests.fake import FakeCustomerIO
from tests.shop.models import Customer, Employee, Lead, Patient, Reader


def message(**values: Any) -> OutboxMessage:
    """A row of the outbox: an event of long ago, so that no warning is due."""
    using = values.pop("using", "default")
    person = values.setdefault("person", "id:42")
    ulid = new_ulid()
    kind, key = person.split(":", 1)
    body = {
        "type": "person",
        "action": "event",
        "identifiers": {kind: key},
        "name": "purchased",
        "id": ulid,
        "timestamp": int(time.time()) - 5 * 86400,
    }
    return OutboxMessage.objects.using(using).create(
        **{
            "ulid": ulid,
            "workspace": "default",
            "site": get_workspace().site,
            "lane": lane_of(person),
            "kind": "event",
            "name": "purchased",
            "body": json.dumps(body),
            "size": len(json.dumps(body)),
            **values,
        }
    )


class Nowhere:
    """A router that keeps the outbox off every database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "django_customerio" else None


class Terminal(StringIO):
    """An output that a person watches."""

    def isatty(self) -> bool:
        return True


def run(name: str, *args: str, **options: Any) -> str:
    """Run a command and return what it printed, errors' output included."""
    out = options.pop("stdout", None) or StringIO()
    call_command(name, *args, stdout=out, stderr=out, no_color=True, **options)
    return out.getvalue()


def fails(name: str, *args: str, code: int = 1, **options: Any) -> str:
    """Run a command that must fail with this exit code; return output and error."""
    out = options.pop("stdout", None) or StringIO()
    with pytest.raises(CommandError) as error:
        run(name, *args, stdout=out, **options)
    assert error.value.returncode == code, error.value
    return out.getvalue() + str(error.value)


@pytest.fixture
def one_database(customerio: Callable[..., None]) -> None:
    """Only the default database has an outbox."""
    customerio(DATABASES=["default"])


@pytest.fixture
def unmigrated(transactional_db: None) -> Iterator[None]:
    """Our tables are not there yet."""
    ours = apps.get_app_config("django_customerio").get_models()
    tables = [model._meta.db_table for model in ours]
    with connections["default"].cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} RENAME TO away_{table}")
        yield
        for table in tables:
            cursor.execute(f"ALTER TABLE away_{table} RENAME TO {table}")


@pytest.mark.usefixtures("one_database")
class TestEndings:
    @pytest.mark.parametrize(
        "command",
        [
            ("flush_customerio",),
            ("customerio_status",),
            ("customerio_preview", "shop.Lead:{}"),
            ("customerio_resend", "--yes"),
            ("customerio_prune", "--dead-older-than=1"),
        ],
    )
    def test_unmigrated(
        self, unmigrated: None, command: tuple[str, ...], customerio: Callable[..., None]
    ) -> None:
        """Where tables are missing, each command says so and names the cure, before all else."""
        lead = Lead.objects.create(name="Ada")
        output = fails(*(part.format(lead.pk) for part in command), code=2)
        assert output == (
            "The database 'default' lacks the table django_customerio_outboxmessage: run "
            "manage.py migrate."
        )

    @pytest.mark.django_db(databases=["default", "other"], transaction=True)
    def test_unmigrated_elsewhere(self, customerio: Callable[..., None]) -> None:
        """The cure names a database that is not the default one."""
        customerio(DATABASES=["default", "other"])
        with connections["other"].cursor() as cursor:
            table = OutboxMessage._meta.db_table
            cursor.execute(f"ALTER TABLE {table} RENAME TO away")
            try:
                output = fails("flush_customerio", code=2)
            finally:
                cursor.execute(f"ALTER TABLE away RENAME TO {table}")
        assert "run manage.py migrate --database other." in output

    def test_a_database_that_is_away(
        self, transactional_db: None, customerio: Callable[..., None]
    ) -> None:
        """A database that cannot be opened is a sentence as well."""
        lite = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nonexistent/x.sqlite3"}
        connections.settings["away"] = connections.configure_settings(
            {"default": {}, "away": lite}
        )["away"]
        away: Any = connections["away"]

        def connect() -> None:
            with away.wrap_database_errors:
                away.connect()

        away.ensure_connection = connect  # past the guard of Django's tests
        customerio(DATABASES=["away"])
        try:
            output = fails("customerio_status")
            with pytest.raises(OperationalError):
                run("customerio_status", traceback=True)
        finally:
            del connections["away"]
            del connections.settings["away"]
        assert output == (
            "The database 'away' failed: OperationalError: unable to open database file."
        )

    def test_other_errors_of_a_database_are_shown(
        self, transactional_db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What no migration cures is not hidden."""

        def broken(*args: Any) -> Any:
            raise OperationalError("disk full")

        monkeypatch.setattr(customerio_status, "read_figures", broken)
        with pytest.raises(OperationalError, match="disk full"):
            run("customerio_status")

    def test_on_a_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The sentence stands alone, without a class's name; --traceback shows the error."""
        command = load_command_class("django_customerio", "flush_customerio")
        command._called_from_command_line = True
        with pytest.raises(SystemExit) as ending:
            call_command(command, "--database", "nope", no_color=True)
        assert ending.value.code == 2
        assert capsys.readouterr() == (
            "", "The database 'nope' has no outbox: default has.\n"
        )  # fmt: skip
        with pytest.raises(CommandError, match="'nope' has no outbox"):
            call_command(command, "--database", "nope", "--traceback")

    @pytest.mark.django_db(databases=["default", "other"])  # which checks of Django's ask
    def test_a_check_that_fails(self, settings: Any) -> None:
        """An error of a system check is told apart from messages that are left: exit code 2."""
        settings.CUSTOMERIO = {"REGION": "mars"}
        output = fails("flush_customerio", code=2, skip_checks=False)
        assert 'CUSTOMERIO["REGION"]' in output


@pytest.mark.usefixtures("one_database")
class TestFlush:
    def test_sends_all_on_all_databases(self, site: FakeCustomerIO) -> None:
        """One run empties the outbox and says what it did."""
        for n in range(3):
            message(person=f"id:{n}")
        output = run("flush_customerio")
        assert re.match(r"Sent 3 in \d+ s, [\d,]+/s\.\n$", output)
        assert len(site.events()) == 3
        assert not OutboxMessage.objects.exists()

    def test_nothing_to_do(self, site: FakeCustomerIO) -> None:
        """An empty outbox is a success."""
        assert run("flush_customerio").startswith("Sent 0 in")
        assert not site.batches

    def test_quiet(self, site: FakeCustomerIO) -> None:
        """With verbosity 0 nothing is printed, as cron likes it."""
        message()
        assert run("flush_customerio", verbosity=0) == ""

    def test_says_what_did_not_go(self, site: FakeCustomerIO) -> None:
        """Dropped, held and expired messages are counted by their names."""
        message(site="elsewhere")
        message(expires_at=timezone.now() - timedelta(hours=1))
        gone = {"model": "shop.lead", "object_pk": "999", "person": "id:999"}
        message(kind="state", body="", name="", **gone)
        output = run("flush_customerio")
        for words in ("sent 0", "nothing to say 1", "held 1", "expired 1"):
            assert words in output.lower()

    def test_workspace_and_database(self, site: FakeCustomerIO, settings: Any) -> None:
        """Only what was chosen is sent."""
        one = {"SITE_ID": "S1", "API_KEY": "K1", "TRACK_URL": site.url}
        two = {"SITE_ID": "S2", "API_KEY": "K2", "TRACK_URL": site.url}
        keys = {"SITE_ID", "API_KEY", "TRACK_URL"}
        rest = {key: v for key, v in settings.CUSTOMERIO.items() if key not in keys}
        settings.CUSTOMERIO = {**rest, "WORKSPACES": {"default": one, "brand_b": two}}
        message(site=get_workspace("default").site)
        row = message(workspace="brand_b", site=get_workspace("brand_b").site)
        run("flush_customerio", "--workspace", "brand_b")
        assert not OutboxMessage.objects.filter(pk=row.pk).exists()
        assert OutboxMessage.objects.count() == 1
        run("flush_customerio", "--database", "default")
        assert not OutboxMessage.objects.exists()

    @pytest.mark.django_db(databases=["default", "other"], transaction=True)
    def test_second_database(self, site: FakeCustomerIO, customerio: Callable[..., None]) -> None:
        """A site's other database has an outbox of its own."""
        customerio()
        message(using="other")
        message()
        run("flush_customerio", "--database", "other")
        assert not OutboxMessage.objects.using("other").exists()
        assert OutboxMessage.objects.exists()
        run("flush_customerio")
        assert not OutboxMessage.objects.exists()

    def test_paused_is_left(self, site: FakeCustomerIO) -> None:
        """Exit code 1, with the reason and the time."""
        message()
        WorkspaceStatus.objects.create(
            workspace="default",
            paused_until=now_ms("default") + 120_000,
            pause_reason="Customer.io refused the key",
        )
        output = fails("flush_customerio")
        assert "1 message left" in output
        assert "Customer.io refused the key" in output
        assert "again in 2 min" in output

    def test_outage_is_left(self, site: FakeCustomerIO) -> None:
        """A server in trouble leaves everything where it is."""
        site.answer = lambda request: (503, {})
        message()
        assert "1 message left" in fails("flush_customerio", budget=3)
        assert OutboxMessage.objects.get().state == "pending"

    def test_budget(self, site: FakeCustomerIO) -> None:
        """After the budget no request begins, and what is left is told."""
        for _ in range(2):
            row = message(person="id:1")
            # Never together: one request each.
            OutboxMessage.objects.filter(pk=row.pk).update(
                kind="delete", body='{"type":"person","action":"delete","identifiers":{"id":"1"}}'
            )
        site.delay = 0.5
        output = fails("flush_customerio", "--budget", "0.2")
        assert "1 message left" in output
        assert "stopped" in output
        assert len(site.batches) == 1

    @pytest.mark.parametrize("budget", ["0", "-1"])
    def test_budget_must_be_positive(self, site: FakeCustomerIO, budget: str) -> None:
        """No time at all is a mistake."""
        assert "more than 0" in fails("flush_customerio", f"--budget={budget}", code=2)

    def test_waits_for_another_worker(self, site: FakeCustomerIO) -> None:
        """What another worker holds is waited for, and that is said once."""
        row = message()
        lanes.create(using="default", workspace="default")
        view = lanes.look(using="default", workspace="default")[row.lane]
        held = lanes.lease(view, using="default", seconds=1.5)
        assert held is not None
        began = time.monotonic()
        output = run("flush_customerio")
        assert time.monotonic() - began > 1
        assert output.count("Other workers hold what is left on default/default") == 1
        assert len(site.events()) == 1

    def test_stops_waiting_when_told(self, site: FakeCustomerIO) -> None:
        """A signal ends the wait for another worker, too."""
        row = message()
        lanes.create(using="default", workspace="default")
        Lane.objects.filter(number=row.lane).update(
            token="another", leased_until=now_ms("default") + 60_000
        )
        timer = later(0.5, ask_to_stop)
        began = time.monotonic()
        assert "1 message left" in fails("flush_customerio", verbosity=0)
        timer.join()
        assert time.monotonic() - began < 5

    def test_names_of_errors_that_may_quote_values(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of other errors of a database only the name is said."""
        from django.db import IntegrityError

        def broken(**options: Any) -> Any:
            raise IntegrityError("Key (email)=(ada@example.com) already exists")

        monkeypatch.setattr(flush_customerio, "drain", broken)
        output = fails("flush_customerio")
        assert "IntegrityError" in output
        assert "ada@example.com" not in output

    def test_gives_up_on_a_worker_that_never_ends(
        self, site: FakeCustomerIO, customerio: Callable[..., None]
    ) -> None:
        """After the time of a lease the rest is left, with exit code 1."""
        customerio(LEASE=5.0, TIMEOUT=1.0, DATABASES=["default"])
        row = message()
        lanes.create(using="default", workspace="default")
        Lane.objects.filter(number=row.lane).update(
            token="another", leased_until=now_ms("default") + 60_000
        )
        assert "other workers hold the lanes" in fails("flush_customerio")

    def test_shows_progress_to_a_person(self, site: FakeCustomerIO) -> None:
        """In a terminal one line is rewritten: done, rate, left."""
        for n in range(5):
            message(person=f"id:{n}")
        out = Terminal()
        run("flush_customerio", stdout=out)
        assert re.search(r"\rSent \d+ in .*/s, \d+ left", out.getvalue())
        assert "\r" not in out.getvalue().rsplit("\r", 1)[1]

    def test_missing_table_names_the_cure(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An error of the database is a sentence and names no values."""

        def broken(**options: Any) -> Any:
            raise OperationalError("no such table: django_customerio_lane\nDETAIL secret")

        monkeypatch.setattr(flush_customerio, "drain", broken)
        output = fails("flush_customerio")
        assert "no such table" in output
        assert "manage.py migrate" in output
        assert "secret" not in output

    def test_refused_in_a_test_run(self, transactional_db: None) -> None:
        """Outside live() a test run sends nothing, and says so."""
        message()
        assert "test" in fails("flush_customerio").lower()
        assert OutboxMessage.objects.exists()


@pytest.mark.usefixtures("one_database")
class TestFlushSettings:
    def test_no_credentials(self, site: FakeCustomerIO, settings: Any) -> None:
        """Exit code 2, naming the settings."""
        settings.CUSTOMERIO = {}
        output = fails("flush_customerio", code=2)
        assert 'CUSTOMERIO["SITE_ID"]' in output
        assert "No workspace has credentials" in output

    def test_one_of_two_without(self, site: FakeCustomerIO, settings: Any) -> None:
        """The workspace that is ready is drained, the other one is named."""
        ready = {"SITE_ID": "S1", "API_KEY": "K1", "TRACK_URL": site.url}
        workspaces = {"default": ready, "brand_b": {}}
        settings.CUSTOMERIO = {"WORKSPACES": workspaces, "DATABASES": ["default"]}
        message(site=get_workspace().site)
        output = run("flush_customerio")
        assert "brand_b" in output
        assert len(site.events()) == 1

    def test_turned_off(self, site: FakeCustomerIO, customerio: Callable[..., None]) -> None:
        """ENABLED = False sends nothing, loudly."""
        customerio(ENABLED=False)
        assert 'CUSTOMERIO["ENABLED"]' in fails("flush_customerio", code=2)

    def test_wrong_settings(self, site: FakeCustomerIO, settings: Any) -> None:
        """The text of the settings' own error."""
        settings.CUSTOMERIO = {"REGION": "mars"}
        assert "REGION" in fails("flush_customerio", code=2)

    def test_unknown_names(self, site: FakeCustomerIO) -> None:
        """A workspace or a database that is not there is named, with those that are."""
        assert "default" in fails("flush_customerio", "--workspace", "nope", code=2)
        assert "default" in fails("flush_customerio", "--database", "nope", code=2)

    def test_no_outbox(
        self, site: FakeCustomerIO, customerio: Callable[..., None], settings: Any
    ) -> None:
        """Without any database to drain there is nothing to do, which is a mistake."""
        customerio()
        settings.DATABASE_ROUTERS = [Nowhere()]
        assert "No database has an outbox" in fails("flush_customerio", code=2)

    def test_settings_that_break_on_the_way(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A wrong setting that only the sender meets is exit code 2 as well."""
        from django.core.exceptions import ImproperlyConfigured

        def broken(**options: Any) -> Any:
            raise ImproperlyConfigured("Set TRACK_URL.")

        monkeypatch.setattr(flush_customerio, "drain", broken)
        assert "Set TRACK_URL." in fails("flush_customerio", code=2)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits between the looks of --loop."""
    monkeypatch.setattr(flush_customerio, "LOOK", (0.02, 0.05))
    monkeypatch.setattr(flush_customerio, "SWEEP", 0.1)
    monkeypatch.setattr(flush_customerio, "BACKOFF_CAP", 0.1)


def later(seconds: float, call: Callable[[], object]) -> threading.Timer:
    """Call something from another thread."""
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


def ask_to_stop() -> None:
    """What a supervisor does."""
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("one_database", "quick")
class TestLoop:
    def test_sees_what_comes_later(self, site: FakeCustomerIO) -> None:
        """New messages are sent soon, and SIGTERM ends the loop with success."""

        def write() -> None:
            message()
            connections.close_all()

        timers = [later(0.3, write)]

        def stop_when_sent() -> None:
            ends = time.monotonic() + 5
            while not site.events() and time.monotonic() < ends:
                time.sleep(0.02)
            ask_to_stop()

        timers.append(later(0.3, stop_when_sent))
        output = run("flush_customerio", "--loop")
        for timer in timers:
            timer.join()
        assert len(site.events()) == 1
        assert "Stopping after the request under way" in output
        assert "Sent 1" in output

    def test_budget_ends_it(self, site: FakeCustomerIO) -> None:
        """A budget ends even the loop, as a restart now and then."""
        began = time.monotonic()
        run("flush_customerio", "--loop", "--budget", "0.3")
        assert 0.2 < time.monotonic() - began < 5

    def test_handlers_are_put_back(self, site: FakeCustomerIO) -> None:
        """Afterwards signals do what they did before."""
        before = signal.getsignal(signal.SIGTERM)
        run("flush_customerio", "--loop", "--budget", "0.1")
        assert signal.getsignal(signal.SIGTERM) == before

    def test_outlives_the_database(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch, caplog: Any
    ) -> None:
        """Database errors are logged by name, the connection is made anew, the work goes on."""
        message()
        drain, calls = flush_customerio.drain, []

        def sometimes(**options: Any) -> Any:
            calls.append(options)
            if len(calls) < 3:
                raise OperationalError("server closed the connection ada@example.com")
            return drain(**options)

        monkeypatch.setattr(flush_customerio, "drain", sometimes)
        output = run("flush_customerio", "--loop", "--budget", "1.5")
        assert len(site.events()) == 1
        assert "The database failed (OperationalError)" in caplog.text
        assert "ada@example.com" not in caplog.text
        assert "server closed" in output

    def test_outlives_a_killed_connection(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server ends its connection, as in a restart: the loop makes a new one."""
        monkeypatch.setattr(flush_customerio, "SWEEP", 60.0)
        vendor = connections["default"].vendor
        if vendor == "sqlite":
            pytest.skip("there is no server to end a connection")

        def kill() -> None:
            with connections["default"].cursor() as cursor:
                if vendor == "postgresql":
                    cursor.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                else:
                    cursor.execute(
                        "SELECT id FROM information_schema.processlist"
                        " WHERE db = database() AND id <> connection_id()"
                    )
                    for (number,) in cursor.fetchall():
                        cursor.execute(f"KILL {number}")
            message()
            connections.close_all()

        timer = later(0.3, kill)
        output = run("flush_customerio", "--loop", "--budget", "2.5")
        timer.join()
        assert "The database failed" in output
        assert len(site.events()) == 1

    def test_tells_a_pause_once(self, site: FakeCustomerIO) -> None:
        """Each pause is one line, and one more when it is over."""
        message()
        WorkspaceStatus.objects.create(
            workspace="default",
            paused_until=now_ms("default") + 60_000,
            pause_reason="Customer.io is down",
        )

        def resume() -> None:
            WorkspaceStatus.objects.update(paused_until=0)
            connections.close_all()

        timer = later(0.4, resume)
        output = run("flush_customerio", "--loop", "--budget", "1.2")
        timer.join()
        assert output.count("default/default: paused: Customer.io is down.") == 1
        assert output.count("default/default: going on.") == 1

    def test_stops_between_two_databases(
        self, site: FakeCustomerIO, customerio: Callable[..., None], settings: Any
    ) -> None:
        """A signal that comes while one workspace is drained keeps the next from beginning."""
        keys = {"API_KEY": "K", "TRACK_URL": site.url}
        workspaces = {name: {"SITE_ID": name, **keys} for name in ("default", "brand_b")}
        settings.CUSTOMERIO = {"WORKSPACES": workspaces, "DATABASES": ["default"]}
        for name in workspaces:
            message(workspace=name, site=get_workspace(name).site)

        def stop(request: Any) -> None:
            ask_to_stop()
            time.sleep(0.2)

        site.answer = stop
        run("flush_customerio", "--loop", verbosity=0)
        assert [row.workspace for row in OutboxMessage.objects.all()] == ["brand_b"]

    def test_sweeps_now_and_then(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Most looks are cheap; some look at everything, the first one among them."""
        drain, sweeps = flush_customerio.drain, []

        def spy(**options: Any) -> Any:
            sweeps.append(options["sweep"])
            return drain(**options)

        monkeypatch.setattr(flush_customerio, "drain", spy)
        run("flush_customerio", "--loop", "--budget", "0.8")
        assert sweeps[0]
        assert True in sweeps[2:]
        assert False in sweeps


class TestStopper:
    def test_second_signal_stops_at_once(self) -> None:
        """The first asks, the second raises, with the shell's exit code."""
        said: list[str] = []
        with Stopper(budget=None, say=said.append) as stop:
            assert not stop()
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            assert stop()
            assert len(said) == 1
            with pytest.raises(SystemExit) as error:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            assert error.value.code == 130

    def test_sleep_ends_early(self) -> None:
        """A signal ends a sleep; an undisturbed one says that it ended by itself."""
        with Stopper(budget=None, say=lambda line: None) as stop:
            assert stop.sleep(0.01)
            timer = later(0.1, ask_to_stop)
            began = time.monotonic()
            assert not stop.sleep(5)
            assert time.monotonic() - began < 1
            timer.join()

    def test_in_another_thread_it_leaves_signals_alone(self) -> None:
        """Only the main thread may listen; the budget works anywhere."""
        seen: list[bool] = []

        def work() -> None:
            with Stopper(budget=0.01, say=lambda line: None) as stop:
                seen.append(stop.sleep(1))
                seen.append(stop())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [False, True]


@pytest.mark.django_db
class TestStatus:
    def test_text(self) -> None:
        """Counts, the oldest, the last success, in words."""
        message(created_at=timezone.now() - timedelta(hours=3, minutes=20, seconds=5))
        message(state="dead")
        message(state="held")
        output = run("customerio_status", "--database", "default")
        assert "default / default: pending 1, held 1, dead 1" in output
        assert "oldest pending: 3 h 20 min" in output
        assert "last success: never" in output
        assert "total" not in output

    def test_json(self) -> None:
        """Ages are seconds, and everything is there, for a monitor."""
        now = now_ms("default")
        message(created_at=timezone.now() - timedelta(seconds=90))
        message(workspace="removed", state="dead")
        WorkspaceStatus.objects.create(
            workspace="default",
            paused_until=now + 60_000,
            pause_reason="down",
            last_success=now - 30_000,
            heartbeat=now - 1_000,
        )
        WorkspaceStatus.objects.create(workspace="idle")
        Lane.objects.create(workspace="default", number=1, paused_until=now + 60_000)
        Lane.objects.create(workspace="default", number=2, paused_until=now - 60_000)
        Lane.objects.create(workspace="default", number=3, paused_until=now + 10**9)
        Lane.objects.create(workspace="idle", number=3)
        found = json.loads(run("customerio_status", "--json", "--database", "default"))
        first, second = found["workspaces"]
        assert (first["database"], first["workspace"]) == ("default", "default")
        assert (first["pending"], first["held"], first["dead"]) == (1, 0, 0)
        assert 90 <= first["oldest_pending_age"] < 120
        assert first["paused_lanes"] == 1
        assert first["paused"] is True
        assert 55 < first["paused_for"] <= 60
        assert first["pause_reason"] == "down"
        assert 30 <= first["last_success_age"] < 60
        assert 1 <= first["heartbeat_age"] < 30
        assert (second["workspace"], second["dead"]) == ("removed", 1)
        assert second["oldest_pending_age"] is None
        assert found["total"]["pending"] == 1
        assert found["total"]["dead"] == 1
        assert found["total"]["paused"] is True

    def test_pause_in_words(self) -> None:
        """Why and how long."""
        now = now_ms("default")
        WorkspaceStatus.objects.create(workspace="default", paused_until=now + 60_000)
        Lane.objects.create(workspace="default", number=1, paused_until=now + 60_000)
        output = run("customerio_status", "--database", "default")
        assert re.search(r"paused for another (60 s|1 min): no reason is known", output)
        assert "paused lanes: 1" in output

    def test_one_workspace(self) -> None:
        """Others are left out, and an unknown one is refused."""
        message(workspace="removed")
        output = run("customerio_status", "--workspace", "default", "--database", "default")
        assert "removed" not in output
        assert "default" in fails("customerio_status", "--workspace", "nope", code=2)

    @pytest.mark.django_db(databases=["default", "other"])
    def test_totals(self) -> None:
        """Several databases are added up."""
        message()
        message(using="other")
        assert "total: pending 2, held 0, dead 0" in run("customerio_status")


@pytest.mark.django_db
class TestPreview:
    def preview(self, person: str, *args: str) -> dict[str, Any]:
        """The preview as JSON."""
        output = run("customerio_preview", person, "--json", "--database", "default", *args)
        return json.loads(output)

    def accept(self, key: str, **values: Any) -> None:
        """Let Customer.io have accepted these attributes."""
        hasher = fingerprints.Hasher()
        fingerprints.store(
            {key: {name: hasher(json.dumps(value)) for name, value in values.items()}},
            using="default",
            workspace="default",
            seal=fingerprints.seal(get_workspace().site),
        )

    def test_exact_json_of_a_new_person(self) -> None:
        """All attributes that have a value go; the two-way one and the empty one do not."""
        customer = Customer.objects.create_user("ada", "ada@example.com", first_name="Ada")
        found = self.preview(f"shop.Customer:{customer.pk}")
        assert found["verdict"] == "changed"
        assert found["person"] == f"id:{customer.uuid}"
        said = found["message"]
        assert said["type"] == "person"
        assert said["action"] == "identify"
        assert said["identifiers"] == {"id": str(customer.uuid)}
        assert said["attributes"] == {
            "email": "ada@example.com",
            "first_name": "Ada",
            "is_active": True,
            "created_at": int(customer.date_joined.timestamp()),
            "lifetime_value": 0,
        }
        assert isinstance(said["timestamp"], int)
        reasons = {each["name"]: each["reason"] for each in found["left_out"]}
        assert reasons == {"unsubscribed": "owner", "plan": "no value"}
        assert found["known"] is False
        assert found["on_delete"] == "delete"

    def test_compares_with_what_was_accepted(self) -> None:
        """Only what differs goes; when nothing does, nothing goes."""
        reader = Reader.objects.create(email="ada@example.com", name="Ada", topics=["a"])
        self.accept("email:ada@example.com", name="Eve", topics=["a"])
        found = self.preview(f"shop.reader:{reader.pk}")
        assert found["message"]["attributes"] == {"name": "Ada"}
        assert found["known"] is True
        assert [each["reason"] for each in found["left_out"]] == ["unchanged"]
        self.accept("email:ada@example.com", name="Ada", topics=["a"])
        found = self.preview(f"shop.reader:{reader.pk}")
        assert found["verdict"] == "unchanged"
        assert found["message"] is None

    def test_attribute_that_cannot_be_told(self) -> None:
        """Its error is named, without its value; the others go."""
        reader = Reader.objects.create(email="ada@example.com", name="Ada", topics="t" * 2000)
        found = self.preview(f"shop.reader:{reader.pk}")
        assert found["message"]["attributes"] == {"name": "Ada"}
        [left] = found["left_out"]
        assert (left["name"], left["reason"]) == ("topics", "error")
        assert "ttt" not in left["explanation"]

    def test_when(self) -> None:
        """Whom ``when`` excludes is not told of, or deleted if known."""
        employee = Employee.objects.create(name="Ada", consented=False)
        found = self.preview(f"shop.employee:{employee.pk}")
        assert (found["verdict"], found["when"], found["message"]) == ("excluded", False, None)
        self.accept(f"id:{employee.pk}", name="Ada")
        found = self.preview(f"shop.employee:{employee.pk}")
        assert found["message"]["action"] == "delete"
        Employee.objects.update(consented=True)
        assert self.preview(f"shop.employee:{employee.pk}")["when"] is True

    def test_when_that_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether the person may be told is unknown, so nothing goes."""
        employee = Employee.objects.create(name="Ada")

        def broken(self: Any, name: str) -> Any:
            if name == "consented":
                raise RuntimeError("secret")
            return object.__getattribute__(self, name)

        monkeypatch.setattr(Employee, "__getattribute__", broken)
        found = self.preview(f"shop.employee:{employee.pk}")
        assert found["verdict"] == "impossible"
        assert found["message"] is None

    def test_too_large(self) -> None:
        """A person of more than an item's size cannot be told, and the limit is named."""
        from django_customerio import preview as module
        from django_customerio.exceptions import MessageTooLarge

        reader = Reader.objects.create(email="ada@example.com", name="Ada")

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise MessageTooLarge("More than 32,000 bytes.", field="attributes")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "render_state", refuse)
            found = self.preview(f"shop.reader:{reader.pk}")
        assert found["verdict"] == "impossible"
        assert "32,000" in found["explanation"]

    def test_update_only(self) -> None:
        """A map that never creates people says so in its JSON."""
        lead = Lead.objects.create(name="Ada")
        assert self.preview(f"shop.lead:{lead.pk}")["message"]["attributes"]["_update"] is True

    def test_text(self) -> None:
        """Readable without --json: verdict, JSON, what is left out and why."""
        employee = Employee.objects.create(name="Ada")
        output = run("customerio_preview", f"shop.employee:{employee.pk}", "--database", "default")
        assert f"shop.employee {employee.pk} on default is id:{employee.pk}" in output
        assert "when: told" in output
        assert "on_delete: delete" in output
        assert '"name": "Ada"' in output
        assert "left out" not in output
        reader = Reader.objects.create(email="a@example.com", name="Ada", topics="t" * 2000)
        output = run("customerio_preview", f"shop.reader:{reader.pk}", "--database", "default")
        assert "  topics (error): " in output
        self.accept(f"id:{employee.pk}", name="Ada")
        output = run("customerio_preview", f"shop.employee:{employee.pk}", "--database", "default")
        assert "  name (unchanged): " in output
        Employee.objects.update(consented=False)
        output = run("customerio_preview", f"shop.employee:{employee.pk}", "--database", "default")
        assert "when: not told" in output

    @pytest.mark.parametrize("known_by", ["{pk}", "email:Ada@example.com"])
    def test_other_names_of_a_person(self, known_by: str) -> None:
        """A primary key that one model has, and what Customer.io knows them by."""
        reader = Reader.objects.create(email="ada@example.com", name="Ada")
        Reader.objects.filter(pk=reader.pk).update(id=7654321)
        found = self.preview(known_by.format(pk=7654321))
        assert found["message"]["identifiers"] == {"email": "ada@example.com"}

    def test_by_id_over_there(self) -> None:
        """id:… is looked up in every model whose people have ids."""
        customer = Customer.objects.create_user("ada")
        found = self.preview(f"id:{customer.uuid}")
        assert found["object_pk"] == str(customer.pk)

    def test_by_plain_id(self) -> None:
        """What is no primary key is the id over there, as to the verbs."""
        customer = Customer.objects.create_user("ada")
        found = self.preview(str(customer.uuid))
        assert found["object_pk"] == str(customer.pk)

    @pytest.mark.parametrize("person", ["{pk}", "shop.lead:{pk}", "id:{pk}"])
    def test_only_where_the_model_lives(self, settings: Any, person: str) -> None:
        """A model that a router keeps off a database is not looked for there."""

        class NoLeads:
            def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
                return hints.get("model_name") != "lead"

        lead = Lead.objects.create(pk=7654321, name="Ada")
        settings.DATABASE_ROUTERS = [NoLeads()]
        name = person.format(pk=lead.pk)
        assert "No row" in fails("customerio_preview", name, "--database", "default")

    def test_ambiguous(self) -> None:
        """Two rows with one primary key: both are named."""
        Lead.objects.create(pk=5, name="Ada")
        Patient.objects.create(pk=5, name="Eve")
        output = fails("customerio_preview", "5", "--database", "default")
        assert "shop.lead:5" in output
        assert "shop.patient:5" in output

    @pytest.mark.parametrize(
        ("person", "says"),
        [
            ("999", "No row"),
            ("shop.lead:999", "No row"),
            ("shop.lead:x", "No row"),
            ("shop.gone:1", "not mapped"),
            ("id:999", "No row"),
            ("phone:+431", "No row"),
            ("email:", "blank"),
        ],
    )
    def test_nobody(self, person: str, says: str) -> None:
        """Whoever is not there, or cannot be, is a sentence with the mapped models."""
        output = fails("customerio_preview", person, "--database", "default")
        assert says in output

    def test_other_workspace(self) -> None:
        """A map of another workspace is left out."""
        lead = Lead.objects.create(name="Ada")
        output = fails("customerio_preview", f"shop.lead:{lead.pk}", "--workspace", "nope", code=2)
        assert "default" in output

    def test_sends_and_writes_nothing(self, django_assert_num_queries: Any) -> None:
        """Three reads, no write: is it there, what does it say, what is known of it."""
        lead = Lead.objects.create(name="Ada")
        with django_assert_num_queries(3):
            run("customerio_preview", f"shop.lead:{lead.pk}", "--database", "default")
        assert not Fingerprint.objects.exists()
        assert not OutboxMessage.objects.exists()


@pytest.mark.usefixtures("one_database")
class TestDoctor:
    def doctor(self, *args: str) -> dict[str, Any]:
        """The findings as JSON, whatever the exit code."""
        out = StringIO()
        code = 0
        try:
            run("customerio_doctor", "--json", *args, stdout=out)
        except CommandError as error:
            code = error.returncode
        found = json.loads(out.getvalue())
        assert found["ok"] is (code == 0)
        assert code in (0, 1)
        return found

    def texts(self, found: dict[str, Any], level: str) -> str:
        """All that is said at a level."""
        return "\n".join(
            f"{each['topic']}: {each['text']} {each['cure']}"
            for each in found["findings"]
            if each["level"] == level
        )

    @pytest.fixture(autouse=True)
    def _quiet_checks(self, settings: Any) -> None:
        """Some of the shop's models are odd on purpose."""
        settings.SILENCED_SYSTEM_CHECKS = [f"django_customerio.{n}" for n in ("E022", "W020")]

    def test_all_well(self, site: FakeCustomerIO) -> None:
        """Credentials, region, migrations, clocks and sending are reported, in words."""
        output = run("customerio_doctor")
        assert "Customer.io accepts the credentials; region 'us', environment 1." in output
        assert "migrations are applied" in output
        assert "agree" in output
        assert "0 messages pending; last success never" in output
        assert "SITE" not in output.replace("SITE_ID", "")
        assert "KEY" not in output.replace("API_KEY", "")

    def test_wrong_region(self, site: FakeCustomerIO) -> None:
        """Configured and actual region, and what to set."""
        site.region = "eu"
        problem = self.texts(self.doctor(), "problem")
        assert "set to 'us'" in problem
        assert "lives in 'eu'" in problem
        assert "CUSTOMERIO[\"REGION\"] to 'eu'" in problem

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            ((401, {}), "refuses the credentials"),
            ((404, {}), "not the Track API"),
            ((503, {}), "503"),
            ((200, b"<html>"), "region"),
        ],
    )
    def test_refusals(self, site: FakeCustomerIO, answer: Any, says: str) -> None:
        """Each refusal is a sentence with its cure."""
        site.answer = lambda request: answer
        found = self.doctor()
        assert says in self.texts(found, "problem")

    def test_unreachable(self, site: FakeCustomerIO, customerio: Callable[..., None]) -> None:
        """Nobody listens there."""
        customerio(TRACK_URL="http://127.0.0.1:9", DATABASES=["default"])
        assert "cannot be reached" in self.texts(self.doctor(), "problem")

    def test_test_run_refuses_to_ask(self, transactional_db: None) -> None:
        """Outside live() the look-up is refused like any other request."""
        assert "test" in self.texts(self.doctor(), "problem").lower()

    def test_offline(self, transactional_db: None) -> None:
        """Without asking, the rest is still examined."""
        found = self.doctor("--offline")
        assert not [each for each in found["findings"] if each["topic"] == "workspace default"]
        assert found["ok"]

    def test_no_credentials(self, site: FakeCustomerIO, settings: Any) -> None:
        """The settings to fill in."""
        settings.CUSTOMERIO = {"DATABASES": ["default"]}
        found = self.doctor()
        assert 'CUSTOMERIO["SITE_ID"]' in self.texts(found, "problem")
        assert "check django_customerio.W001" in self.texts(found, "warning")

    def test_wrong_settings(self, site: FakeCustomerIO, settings: Any) -> None:
        """Nothing else can be examined, so that is all it says."""
        settings.CUSTOMERIO = {"REGION": "mars"}
        found = self.doctor()
        assert len(found["findings"]) == 1
        assert "REGION" in self.texts(found, "problem")

    def test_unknown_workspace(self, site: FakeCustomerIO) -> None:
        """A workspace that is not there."""
        assert "nope" in self.texts(self.doctor("--workspace", "nope"), "problem")

    def test_turned_off(self, site: FakeCustomerIO, customerio: Callable[..., None]) -> None:
        """ENABLED = False is worth a warning."""
        customerio(ENABLED=False, DATABASES=["default"])
        assert "turned off" in self.texts(self.doctor(), "warning")

    def test_nobody_sends(self, site: FakeCustomerIO) -> None:
        """An old pending message and no worker: a problem with a cure for this sender."""
        message(created_at=timezone.now() - timedelta(minutes=10))
        problem = self.texts(self.doctor(), "problem")
        assert "Nobody sends: the oldest of 1 message waits for 10 min" in problem
        assert "no worker ever looked" in problem
        assert "flush_customerio --loop" in problem
        now = now_ms("default")
        WorkspaceStatus.objects.create(workspace="default", heartbeat=now - 300_000)
        assert "none looked for 5 min" in self.texts(self.doctor(), "problem")
        WorkspaceStatus.objects.update(heartbeat=now)
        assert self.doctor()["ok"]

    def test_stopped_and_paused(self, site: FakeCustomerIO) -> None:
        """Dead, held, a pause, and messages of a workspace that is gone."""
        message(state="dead")
        message(state="held")
        message(workspace="removed")
        message(workspace="also_here", state="dead")
        WorkspaceStatus.objects.create(
            workspace="default", paused_until=now_ms("default") + 60_000, pause_reason="down"
        )
        found = self.doctor()
        warning = self.texts(found, "warning")
        assert "1 message dead" in warning
        assert "1 message held" in warning
        assert "1 message of a workspace that the settings do not name" in warning
        assert re.search(r"paused for another .*: down", self.texts(found, "problem"))

    def test_one_workspace(self, site: FakeCustomerIO, settings: Any) -> None:
        """What another workspace has is left out."""
        keys = {"API_KEY": "K", "TRACK_URL": site.url}
        workspaces = {name: {"SITE_ID": name, **keys} for name in ("default", "brand_b")}
        settings.CUSTOMERIO = {"WORKSPACES": workspaces, "DATABASES": ["default"]}
        message(workspace="brand_b", state="dead")
        output = run("customerio_doctor", "--workspace", "default")
        assert "brand_b" not in output
        assert "1 message dead" in run("customerio_doctor")

    def test_clock(self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch) -> None:
        """A database whose clock is off by minutes."""
        for shift, says in ((300_000, "ahead of"), (-300_000, "behind")):
            monkeypatch.setattr(
                diagnosis, "now_ms", lambda using, shift=shift: time.time() * 1000 + shift
            )
            assert f"5 min {says} this machine's" in self.texts(self.doctor(), "warning")

    def test_migrations(self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is not applied is named with the command to run."""
        from django.db.migrations.recorder import MigrationRecorder

        monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda self: {})
        problem = self.texts(self.doctor(), "problem")
        assert "not applied: 0001_initial" in problem
        assert "manage.py migrate --database default" in problem

    def test_database_that_is_down(
        self, site: FakeCustomerIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The name of its error, and no values."""

        def broken(alias: str) -> list[str]:
            raise OperationalError("secret")

        monkeypatch.setattr(diagnosis, "_unapplied", broken)
        problem = self.texts(self.doctor(), "problem")
        assert "OperationalError" in problem
        assert "secret" not in problem

    def test_text_marks(self, site: FakeCustomerIO) -> None:
        """Each line begins with how bad it is; the exit code is 1 with problems."""
        site.region = "eu"
        message(state="dead")
        output = fails("customerio_doctor")
        assert re.search(r"^problem +workspace default: ", output, re.MULTILINE)
        assert re.search(r"^warning +default / default: ", output, re.MULTILINE)
        assert re.search(r"^ok +database default: ", output, re.MULTILINE)
        assert "1 problem found." in output
        site.region = "us"
        assert "No problems, " in run("customerio_doctor")


@pytest.fixture
def answer_yes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A person at the keyboard; what they type is in the list."""
    typed: list[str] = ["y"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: typed.pop(0))
    return typed


@pytest.mark.django_db
class TestResend:
    def resend(self, *args: str, **options: Any) -> str:
        """Resend without asking."""
        return run("customerio_resend", "--yes", "--database", "default", *args, **options)

    def pending(self) -> set[int]:
        """What will be sent."""
        return set(OutboxMessage.objects.filter(state="pending").values_list("pk", flat=True))

    def test_everything_that_stopped(self) -> None:
        """Without filters all dead and held ones, and it says how many."""
        rows = [message(state="dead"), message(state="held", site="elsewhere")]
        output = self.resend()
        assert "2 messages would be sent again." in output
        assert "2 messages of 2 will be sent again." in output
        assert self.pending() == {row.pk for row in rows}

    @pytest.mark.parametrize(
        ("args", "values"),
        [
            (("--state", "held"), {"state": "held"}),
            (("--person", "id:7"), {"person": "id:7"}),
            (("--person", "7"), {"person": "id:7"}),
            (("--person", "email:Ada@example.com"), {"person": "email:ada@example.com"}),
            (("--event", "exported"), {"name": "exported"}),
            (("--older-than", "2h"), {"created_at": timedelta(hours=3)}),
            (("--newer-than", "90s"), {"created_at": timedelta(seconds=5)}),
        ],
    )
    def test_filters(self, args: tuple[str, ...], values: dict[str, Any]) -> None:
        """By state, person, event and age; the others stay."""
        values = {
            name: timezone.now() - value if isinstance(value, timedelta) else value
            for name, value in values.items()
        }
        chosen = message(**{"state": "dead", **values})
        message(state="dead", created_at=timezone.now() - timedelta(minutes=10))
        self.resend(*args)
        assert self.pending() == {chosen.pk}

    def test_limit(self) -> None:
        """The oldest first."""
        rows = [message(state="dead") for _ in range(3)]
        self.resend("--limit", "2")
        assert self.pending() == {rows[0].pk, rows[1].pk}
        assert "--limit" in fails("customerio_resend", "--yes", "--limit", "0")

    @pytest.mark.django_db(databases=["default", "other"])
    def test_limit_over_databases(self) -> None:
        """It holds for all databases together."""
        message(state="dead")
        message(state="dead", using="other")
        assert "1 message would be" in run("customerio_resend", "--yes", "--limit", "1")

    def test_workspace(self) -> None:
        """Only of one workspace; messages of one that is gone are never chosen."""
        message(state="dead", workspace="removed")
        assert "No dead or held message matches." in self.resend()

    def test_dry_run(self) -> None:
        """Only counts."""
        message(state="dead")
        output = run("customerio_resend", "--dry-run", "--database", "default")
        assert "1 message would be sent again." in output
        assert not self.pending()

    def test_warns_of_campaigns(self) -> None:
        """Events of the last 72 hours are counted, by their own time."""
        message(state="dead", body=json.dumps({"timestamp": int(time.time()) - 3600}))
        message(state="dead")
        output = run("customerio_resend", "--dry-run", "--database", "default")
        assert "1 event among them happened less than 72 hours ago" in output

    def test_needs_yes_where_nobody_watches(self) -> None:
        """Cron cannot answer."""
        message(state="dead")
        assert "--yes" in fails("customerio_resend", "--database", "default")
        assert not self.pending()

    def test_asks_a_person(self, answer_yes: list[str]) -> None:
        """Only a yes does it."""
        message(state="dead")
        answer_yes[:] = ["", "Y"]
        output = run("customerio_resend", "--database", "default", stdout=Terminal())
        assert "Nothing was changed." in output
        assert not self.pending()
        run("customerio_resend", "--database", "default", stdout=Terminal())
        assert self.pending()

    def test_raced(self, answer_yes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """What somebody else decided in the meantime is told."""
        row = message(state="dead")

        def type_slowly(question: str) -> str:
            OutboxMessage.objects.filter(pk=row.pk).delete()
            return "yes"

        monkeypatch.setattr("builtins.input", type_slowly)
        output = run("customerio_resend", "--database", "default", stdout=Terminal())
        assert "0 messages of 1 will be sent again." in output
        assert "The others were resent or discarded meanwhile" in output

    @pytest.mark.parametrize("age", ["3", "3x", "h", "", "infh", "nand"])
    def test_nonsense_age(self, age: str) -> None:
        """An age needs a number and a unit, and the error names the forms."""
        output = fails("customerio_resend", f"--older-than={age}")
        assert "--older-than: an age is a number and a unit" in output
        assert "such as 90m, 12h or 3d" in output


@pytest.mark.django_db
class TestPrune:
    def sent(self, days: float, **values: Any) -> SentMessage:
        """An entry of the ledger of that many days ago."""
        at = timezone.now() - timedelta(days=days)
        return SentMessage.objects.create(
            **{
                "ulid": new_ulid(),
                "workspace": "default",
                "person": "id:42",
                "kind": "event",
                "queued_at": at,
                "sent_at": at,
                **values,
            }
        )

    def prune(self, *args: str, **options: Any) -> str:
        return run("customerio_prune", "--database", "default", *args, **options)

    def test_by_keep_sent(self, settings: Any) -> None:
        """Only what is older than KEEP_SENT goes."""
        settings.CUSTOMERIO = {"KEEP_SENT": timedelta(days=10)}
        self.sent(11)
        kept = self.sent(9)
        assert self.prune() == "Deleted 1 entry of the ledger on default.\n"
        assert list(SentMessage.objects.all()) == [kept]

    def test_no_ledger(self, settings: Any) -> None:
        """With KEEP_SENT = None nothing of an earlier ledger is kept."""
        settings.CUSTOMERIO = {"KEEP_SENT": None}
        self.sent(0.001)
        self.prune(verbosity=0)
        assert not SentMessage.objects.exists()

    def test_in_chunks_with_progress(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Many rows go in small steps, shown where a person watches."""
        monkeypatch.setattr(customerio_prune, "CHUNK", 2)
        for _ in range(5):
            self.sent(31)
        output = self.prune(stdout=Terminal())
        assert "\rdeleted 2 of 5" in output
        assert "Deleted 5 entries of the ledger on default." in output
        assert not SentMessage.objects.exists()

    def test_dry_run(self) -> None:
        """Only counts."""
        self.sent(31)
        assert "Would delete 1 entry" in self.prune("--dry-run")
        assert SentMessage.objects.exists()

    def test_dead_only_if_asked(self) -> None:
        """Dead messages were never accepted: they stay unless an age is given."""
        old = {"created_at": timezone.now() - timedelta(days=20)}
        dead, pending = message(state="dead", **old), message(**old)
        young = message(state="dead")
        self.prune()
        assert OutboxMessage.objects.count() == 3
        output = self.prune("--dead-older-than", "10")
        assert "Deleted 1 dead message on default." in output
        left = set(OutboxMessage.objects.values_list("pk", flat=True))
        assert left == {pending.pk, young.pk}
        assert dead.pk not in left

    def test_workspace(self) -> None:
        """Only of one workspace."""
        self.sent(31)
        other = self.sent(31, workspace="brand_b")
        old = {"created_at": timezone.now() - timedelta(days=20)}
        dead = message(state="dead", workspace="brand_b", **old)
        self.prune("--workspace", "default", "--dead-older-than", "10")
        assert list(SentMessage.objects.all()) == [other]
        assert list(OutboxMessage.objects.all()) == [dead]


class TestWords:
    @pytest.mark.parametrize(
        ("seconds", "words"),
        [(-1, "0 s"), (3, "3 s"), (120, "2 min"), (12_000, "3 h 20 min"), (300_000, "3 days")],
    )
    def test_duration(self, seconds: float, words: str) -> None:
        """A duration in the words of a terminal."""
        assert shared.duration(seconds) == words

    def test_plain_progress_comes_now_and_then(self) -> None:
        """Where nobody watches, a line every few seconds; none at verbosity 0."""
        from django.core.management.base import OutputWrapper

        out = StringIO()
        progress = shared.Progress(OutputWrapper(out), verbosity=1, every=0.05)
        progress.say("one")
        time.sleep(0.06)
        progress.say("two")
        progress.say("three")
        progress.clear()
        assert out.getvalue() == "two\n"
        quiet = shared.Progress(OutputWrapper(Terminal()), verbosity=0)
        quiet.say("one")
