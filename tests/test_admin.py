"""The outbox and the ledger in the admin."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from django_customerio import admin as cio_admin
from django_customerio import fingerprints
from django_customerio.admin import decisions, display, outbox
from django_customerio.clock import now_ms
from django_customerio.conf import get_workspace
from django_customerio.ids import new_ulid
from django_customerio.messages import lane_of
from django_customerio.models import Fingerprint, Lane, OutboxMessage, SentMessage, WorkspaceStatus
from tests.shop.models import Customer, Employee, Lead, Reader

pytestmark = pytest.mark.django_db

# An admin that knows the shop's customers too; see ``test_links_the_row_it_is_about``.
site = AdminSite()
site.register(OutboxMessage, cio_admin.OutboxMessageAdmin)
site.register(Customer)
urlpatterns = [path("admin/", site.urls)]

LIST = "/admin/django_customerio/outboxmessage/"
LEDGER = "/admin/django_customerio/sentmessage/"


def message(**values: Any) -> OutboxMessage:
    """A row of the outbox, an event of Ada's unless told otherwise."""
    using = values.pop("using", "default")
    person = values.setdefault("person", "id:42")
    made = {
        "ulid": new_ulid(),
        "workspace": "default",
        "site": get_workspace().site,
        "lane": lane_of(person),
        "kind": "event",
        "name": "purchased",
        "body": '{"type":"person","action":"event","identifiers":{"id":"42"},"name":"purchased"}',
        "cause": "/checkout/ @ 1.2",
        **values,
    }
    made.setdefault("size", len(made["body"]))
    return OutboxMessage.objects.using(using).create(**made)


def sent(**values: Any) -> SentMessage:
    """A row of the ledger."""
    return SentMessage.objects.create(
        **{
            "ulid": new_ulid(),
            "workspace": "default",
            "person": "id:42",
            "kind": "identify",
            "attribute_names": "email,first_name",
            "queued_at": timezone.now(),
            **values,
        }
    )


def event_body(age: float) -> str:
    """The body of an event that happened that many seconds ago."""
    return json.dumps({"name": "purchased", "timestamp": int(time.time() - age)})


def staff(*codenames: str) -> Client:
    """A browser in which somebody with these permissions is logged in."""
    user = Customer.objects.create_user(f"staff{Customer.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


ALL = ("view_outboxmessage", "view_payload", "resend_outboxmessage", "discard_outboxmessage")


@pytest.fixture
def boss() -> Client:
    """A browser with all permissions on the outbox, and on nothing else."""
    return staff(*ALL, "view_sentmessage")


def text(response: Any) -> str:
    """The page, without its tokens: a random one may hold any short name."""
    assert response.status_code == 200, response.status_code
    token = r'(name="csrfmiddlewaretoken" value=")[^"]*'
    return re.sub(token, r"\1", response.content.decode())


def told(response: Any) -> list[str]:
    """What the next page says about what was done."""
    return [str(each) for each in response.context["messages"]]


def change(row: OutboxMessage, step: str = "change") -> str:
    """Address of the detail page, or of one of its buttons."""
    return reverse(f"admin:django_customerio_outboxmessage_{step}", args=[row.pk])


class TestList:
    def test_shows_what_a_person_looks_for(self, boss: Client) -> None:
        """State in words, kind, person, event, attempts, cause and the answer in one line."""
        message(state="dead", attempts=3, answer="attribute\n name too long")
        page = text(boss.get(LIST))
        for expected in ("dead</span>", "event", "id:42", "purchased", "/checkout/ @ 1.2"):
            assert expected in page
        assert "attribute name too long" in page
        assert '<td class="field-attempts">3</td>' in page

    def test_newest_first(self, boss: Client) -> None:
        """The last thing said is the first in the list."""
        old, new = message(), message()
        page = text(boss.get(LIST))
        assert page.index(change(new)) < page.index(change(old))

    def test_age_is_relative_and_exact_in_the_title(self, boss: Client) -> None:
        """Two hours is said as two hours; the title has the moment."""
        row = message(created_at=timezone.now() - timedelta(hours=2, minutes=5))
        page = text(boss.get(LIST))
        exact = row.created_at.isoformat(sep=" ", timespec="milliseconds")
        assert re.search(rf'<time [^>]*title="{re.escape(exact)}">2\xa0hours</time>', page)

    def test_long_answer_is_cut(self, boss: Client) -> None:
        """A list of answers stays a list."""
        message(state="dead", answer="x" * 500)
        cell = re.search(r'<td class="field-answer_line">(.*?)</td>', text(boss.get(LIST)))
        assert cell is not None
        assert len(re.sub("<[^>]*>", "", cell[1])) <= 80

    def test_no_query_for_each_row(self, boss: Client) -> None:
        """Ten rows take as many statements as one."""
        message()
        boss.get(LIST)
        with CaptureQueriesContext(connection) as one:
            boss.get(LIST)
        for _ in range(9):
            message(person=new_ulid())
        with CaptureQueriesContext(connection) as ten:
            page = text(boss.get(LIST))
        assert page.count('name="_selected_action"') == 10
        assert len(ten) == len(one)

    def test_bodies_are_not_loaded(self, boss: Client) -> None:
        """Payloads stay in the database while a list is shown."""
        message(body="Z" * 2000)
        with CaptureQueriesContext(connection) as queries:
            boss.get(LIST)
        assert not [query for query in queries if '"body"' in query["sql"].replace("`", '"')]

    def test_empty(self, boss: Client) -> None:
        """An empty outbox is good news, and an empty search says how to go back."""
        assert "Nothing waits" in text(boss.get(LIST))
        message()
        assert "Nothing matches" in text(boss.get(LIST, {"q": "nobody"}))
        assert "Nothing matches" in text(boss.get(LIST, {"state__exact": "dead"}))

    def test_no_inline_style_or_script(self, boss: Client) -> None:
        """A strict Content-Security-Policy holds on all our pages."""
        row = message(state="dead", body=event_body(60))
        pages = [LIST, change(row), change(row, "resend"), change(row, "discard"), LEDGER]
        for address in pages:
            page = text(boss.get(address))
            assert not re.search(r"<[^>]+ (style|on[a-z]+)=", page), address
            assert not re.search(r"<script(?![^>]*(src=|application/json))", page), address
            assert "django_customerio/admin.css" in page

    def test_text_from_outside_is_escaped(self, boss: Client) -> None:
        """What a person or Customer.io wrote is text, never markup."""
        evil = "<script>alert(1)</script>"
        row = message(state="dead", person=f"id:{evil}", name=evil, answer=evil, cause=evil,
                      body=json.dumps({"a": evil}), model=evil, object_pk=evil)  # fmt: skip
        SentMessage.objects.create(
            ulid=new_ulid(), workspace="default", person=evil, kind="event", name=evil,
            attribute_names=evil, cause=evil, queued_at=timezone.now(), answer=evil,
        )  # fmt: skip
        for address in (LIST, change(row), change(row, "discard"), LEDGER):
            assert evil not in text(boss.get(address)), address


class TestSearch:
    @pytest.mark.parametrize(
        ("term", "person"),
        [
            ("id:42", "id:42"),
            ("42", "id:42"),
            (" 42 ", "id:42"),
            ("Ada@Example.com", "email:ada@example.com"),
            ("email:Ada@Example.com", "email:ada@example.com"),
            ("ada@example.com", "id:ada@example.com"),
            ("id:42", "id:id:42"),
            ("user:7", "id:user:7"),
        ],
    )
    def test_person(self, boss: Client, term: str, person: str) -> None:
        """A person is found by their key, or by their identifier alone."""
        row = message(person=person)
        message(person="id:420")
        page = text(boss.get(LIST, {"q": term}))
        assert change(row) in page
        assert "id:420" not in page

    def test_case_of_ids_matters(self, boss: Client) -> None:
        """A and a are two people."""
        message(person="id:A")
        assert "Nothing matches" in text(boss.get(LIST, {"q": "a"}))

    def test_other_ways(self, boss: Client) -> None:
        """A ULID in any case, an event, and the primary key of an object."""
        row = message(name="exported", model="shop.visitor", object_pk="77")
        other = message()
        for term in (row.ulid, row.ulid.lower(), "exported", "77"):
            page = text(boss.get(LIST, {"q": term}))
            assert change(row) in page
            assert change(other) not in page

    def test_part_of_a_name_finds_nothing(self, boss: Client) -> None:
        """The search is exact."""
        message(name="exported")
        assert "Nothing matches" in text(boss.get(LIST, {"q": "export"}))

    def test_help_text(self, boss: Client) -> None:
        """The page says what can be searched for."""
        assert "a ULID, an event name" in text(boss.get(LIST))


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "values"),
        [
            ({"state__exact": "dead"}, {"state": "dead"}),
            ({"kind__exact": "page"}, {"kind": "page"}),
            ({"model": "shop.visitor"}, {"model": "shop.visitor"}),
            ({"workspace": "brand_b"}, {"workspace": "brand_b"}),
        ],
    )
    def test_exact(self, boss: Client, query: dict[str, str], values: dict[str, str]) -> None:
        """State, kind, model and workspace."""
        row, other = message(**values), message()
        page = text(boss.get(LIST, query))
        assert change(row) in page
        assert change(other) not in page

    @pytest.mark.parametrize(
        ("age", "hours"), [("1h", [2, 30, 80]), ("24h", [30, 80]), ("72h", [80]), ("x", None)]
    )
    def test_age(self, boss: Client, age: str, hours: list[int] | None) -> None:
        """Older than an hour, a day, three days; what is no age filters nothing."""
        rows = {h: message(created_at=timezone.now() - timedelta(hours=h)) for h in (0, 2, 30, 80)}
        page = text(boss.get(LIST, {"age": age}))
        found = [h for h, row in rows.items() if change(row) in page]
        assert found == (hours if hours is not None else [0, 2, 30, 80])

    def test_choices(self, boss: Client) -> None:
        """Models are offered by name, workspaces and databases only where there are several."""
        message()
        page = text(boss.get(LIST))
        assert "?model=shop.visitor" in page
        assert "?workspace=" not in page
        assert "?database=other" in page
        workspaces = {"default": {}, "brand_b": {}}
        with override_settings(CUSTOMERIO={"WORKSPACES": workspaces, "DATABASES": ["default"]}):
            page = text(boss.get(LIST))
        assert "?workspace=brand_b" in page
        assert "?database=" not in page


@pytest.mark.django_db(databases=["default", "other"])
class TestDatabases:
    def test_list_detail_and_decision_follow_the_database(self, boss: Client) -> None:
        """With several outboxes each is shown, and decided upon, where it lives."""
        here = message(person="id:here")
        there = message(using="other", person="id:there", state="dead")
        page = text(boss.get(LIST, {"database": "other"}))
        assert "id:there" in page
        assert "id:here" not in page
        address = re.search(rf'href="({re.escape(change(there))}[^"]*)"', page)
        assert address is not None
        detail = text(boss.get(address[1].replace("&amp;", "&")))
        assert "id:there" in detail
        action = re.search(r'action="([^"]*/resend/[^"]*)"', detail)
        assert action is not None
        response = boss.post(action[1].replace("&amp;", "&"), {"confirmed": "yes"})
        assert "database=other" in response["Location"]
        there.refresh_from_db(using="other")
        assert there.state == "pending"
        assert OutboxMessage.objects.filter(pk=here.pk).exists()

    def test_unknown_database_is_the_usual_one(self, boss: Client) -> None:
        """An address made up by hand reads nothing else."""
        row = message()
        assert change(row) in text(boss.get(LIST, {"database": "nope"}))


class TestFigures:
    def test_counts_ages_and_pause(self, boss: Client) -> None:
        """The head of the list tells how each workspace fares."""
        message(created_at=timezone.now() - timedelta(hours=3))
        message(state="dead")
        now = now_ms("default")
        WorkspaceStatus.objects.create(
            workspace="default",
            paused_until=now + 240_000,
            pause_reason="Customer.io refused the key",
            last_success=now - 120_000,
            heartbeat=now - 5_000,
        )
        Lane.objects.create(workspace="default", number=1, paused_until=now + 60_000)
        page = " ".join(text(boss.get(LIST)).split())
        assert "<dt>pending</dt><dd>1</dd>" in page
        assert '<div class="cio-bad"><dt>dead</dt><dd>1</dd>' in page
        assert "<dt>oldest pending</dt><dd>3 hours</dd>" in page
        assert "<dt>last success</dt><dd>2 minutes ago</dd>" in page
        assert "<dt>paused lanes</dt><dd>1</dd>" in page
        assert re.search(r"paused for another [34] minutes: Customer.io refused the key", page)

    def test_nothing_yet(self, boss: Client) -> None:
        """A new site is not paused and has sent nothing."""
        page = text(boss.get(LIST))
        assert "<dt>last success</dt><dd>never</dd>" in page
        assert "paused" not in page

    def test_few_statements(self, boss: Client) -> None:
        """Four statements, whatever is in the outbox."""
        message()
        boss.get(LIST)
        with CaptureQueriesContext(connection) as queries:
            boss.get(LIST)
        ours = [q for q in queries if "django_customerio" in q["sql"]]
        assert len(ours) <= 4 + 2  # the list itself counts and reads


class TestDetail:
    def test_payload_needs_its_own_permission(self) -> None:
        """Who may see messages does not see what they hold."""
        row = message(body='{"name":"purchased","data":{"secret":"4711"}}')
        page = text(staff("view_outboxmessage").get(change(row)))
        assert "4711" not in page
        assert "Payloads hold personal data" in page
        page = text(staff("view_outboxmessage", "view_payload").get(change(row)))
        assert "&quot;secret&quot;: &quot;4711&quot;" in page

    def test_payload_that_is_no_json(self, boss: Client) -> None:
        """A row that was tampered with is shown as it is."""
        assert "not json" in text(boss.get(change(message(body="not json"))))

    def test_everything_is_read_only(self, boss: Client) -> None:
        """There is nothing to type in, and a POST changes nothing."""
        row = message()
        page = text(boss.get(change(row)))
        form = page[page.index('id="outboxmessage_form"') :]
        assert not re.search(r'<(textarea|select|input (?!type="hidden"))', form)
        assert boss.post(change(row), {"person": "id:1"}).status_code == 403

    def test_no_add_and_no_delete(self, boss: Client) -> None:
        """Rows come from code and go to Customer.io."""
        row = message()
        assert boss.get(f"{LIST}add/").status_code == 403
        assert boss.post(change(row, "delete"), {"post": "yes"}).status_code == 403
        assert "delete_selected" not in text(boss.get(LIST))

    def test_gone(self, boss: Client) -> None:
        """A message that was sent meanwhile is no error page."""
        assert boss.get(f"{LIST}999/change/").status_code == 302

    def test_links_the_row_it_is_about(self) -> None:
        """Only who may see the row gets a link to it, and only where the admin has it."""
        customer = Customer.objects.create_user("ada")
        row = message(model="shop.customer", object_pk=str(customer.pk))
        name, link = f"shop.customer {customer.pk}", f"/admin/shop/customer/{customer.pk}/change/"
        both = staff(*ALL, "view_customer")
        page = text(both.get(change(row)))
        assert name in page
        assert link not in page
        with override_settings(ROOT_URLCONF=__name__):
            assert f'<a href="{link}">{name}</a>' in text(both.get(change(row)))
            assert link not in text(staff(*ALL).get(change(row)))
            nameless = message(model="shop.customer")
            assert "shop.customer" in text(both.get(change(nameless)))

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"state": "dead"}, "is not sent again by itself"),
            ({"state": "held", "site": "other"}, "another Customer.io site than this one"),
            ({"state": "held"}, "now it fits"),
            ({"state": "held", "workspace": "gone"}, "no longer name"),
            ({}, "waits to be sent"),
        ],
    )
    def test_says_what_happens_next(self, boss: Client, values: dict[str, str], says: str) -> None:
        """Each state is explained in a sentence."""
        assert says in text(boss.get(change(message(**values))))

    def test_says_why_it_waits(self, boss: Client) -> None:
        """A pause of the workspace, of the lane and of the message itself."""
        now = now_ms("default")
        row = message(retry_at=now + 40_000)
        WorkspaceStatus.objects.create(
            workspace="default", paused_until=now + 90_000, pause_reason="Customer.io is down"
        )
        Lane.objects.create(
            workspace="default", number=row.lane, paused_until=now + 50_000, failures=3
        )
        page = text(boss.get(change(row)))
        assert "Its workspace is paused" in page
        assert "Customer.io is down" in page
        assert "after 3 failures" in page
        assert "It failed alone" in page
        WorkspaceStatus.objects.update(paused_until=0)
        Lane.objects.update(paused_until=0)
        OutboxMessage.objects.update(retry_at=0)
        page = text(boss.get(change(row)))
        assert "paused" not in page
        assert "failed alone" not in page

    def test_times(self, boss: Client) -> None:
        """Creation, first failure and expiry, each with how far away it is."""
        row = message(
            created_at=timezone.now() - timedelta(days=20),
            first_failed_at=timezone.now() - timedelta(seconds=30),
            expires_at=timezone.now() + timedelta(hours=5, seconds=5),
        )
        page = text(boss.get(change(row)))
        assert "(20 days ago)" in page
        assert "(30 s ago)" in page
        assert "(in 5\xa0hours)" in page
        assert "never" in text(boss.get(change(message())))


def state_row(model: str, pk: Any, person: str, **values: Any) -> OutboxMessage:
    """A row that says "look at this person again"."""
    return message(
        kind="state", name="", body="", model=model, object_pk=str(pk), person=person, **values
    )


class TestStateDetail:
    def test_shows_what_it_would_say_now(self, boss: Client) -> None:
        """A state holds nothing; the page reads the row as sending would."""
        reader = Reader.objects.create(email="ada@example.com", name="Ada")
        row = state_row("shop.reader", reader.pk, "email:ada@example.com")
        Reader.objects.update(name="Countess")
        page = text(boss.get(change(row)))
        assert "&quot;name&quot;: &quot;Countess&quot;" in page
        assert "This would be sent." in page

    def test_needs_the_permission_too(self) -> None:
        """What a state would say is personal data as well."""
        reader = Reader.objects.create(email="ada@example.com", name="Ada")
        row = state_row("shop.reader", reader.pk, "email:ada@example.com")
        assert "Ada" not in text(staff("view_outboxmessage").get(change(row)))

    def test_unchanged_and_left_out(self, boss: Client) -> None:
        """What was accepted already is named as left out."""
        lead = Lead.objects.create(name="Ada")
        fingerprints.store(
            {f"id:{lead.pk}": {"name": fingerprints.Hasher()('"Ada"')}},
            using="default",
            workspace="default",
            seal=fingerprints.seal(get_workspace().site),
        )
        page = text(boss.get(change(state_row("shop.lead", lead.pk, f"id:{lead.pk}"))))
        assert "nothing would be sent" in page
        assert "name: Customer.io has accepted this value already." in page

    @pytest.mark.parametrize(
        ("model", "pk", "person", "says"),
        [
            ("shop.lead", "999", "id:999", "does not exist any more"),
            ("shop.lead", "x", "id:x", "does not exist any more"),
            ("shop.gone", "1", "id:1", "is not mapped any more"),
        ],
    )
    def test_says_what_is_wrong(
        self, boss: Client, model: str, pk: str, person: str, says: str
    ) -> None:
        """A row or a model that is gone is a sentence, not an error page."""
        assert says in text(boss.get(change(state_row(model, pk, person))))

    def test_known_by_another_id_by_now(self, boss: Client) -> None:
        """The queued id is that of an earlier day."""
        reader = Reader.objects.create(email="new@example.com", name="Ada")
        row = state_row("shop.reader", reader.pk, "email:old@example.com")
        page = text(boss.get(change(row)))
        assert "another id by now" in page
        assert "Ada" not in page

    def test_excluded(self, boss: Client) -> None:
        """Where ``when`` says no, nothing goes, or a delete if they are known over there."""
        employee = Employee.objects.create(name="Ada", consented=False)
        key = f"id:{employee.pk}"
        row = state_row("shop.employee", employee.pk, key)
        assert "when() says no: nothing would be sent." in text(boss.get(change(row)))
        fingerprints.store(
            {key: {}},
            using="default",
            workspace="default",
            seal=fingerprints.seal(get_workspace().site),
        )
        page = text(boss.get(change(row)))
        assert "a delete would be sent" in page
        assert "&quot;action&quot;: &quot;delete&quot;" in page

    def test_error_of_the_site_is_a_sentence(
        self, boss: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Code of the site that raises does not take the page down, nor does its text leak."""
        lead = Lead.objects.create(name="Ada")
        row = state_row("shop.lead", lead.pk, f"id:{lead.pk}")

        def broken(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("ada@example.com")

        monkeypatch.setattr("django_customerio.admin.says.preview", broken)
        page = text(boss.get(change(row)))
        assert "failed with RuntimeError" in page
        assert "ada@example.com" not in page

    def test_writes_nothing(self, boss: Client) -> None:
        """Looking changes no fingerprint and no row."""
        lead = Lead.objects.create(name="Ada")
        row = state_row("shop.lead", lead.pk, f"id:{lead.pk}")
        with CaptureQueriesContext(connection) as queries:
            boss.get(change(row))
        writes = [q["sql"] for q in queries if not q["sql"].startswith(("SELECT", "SAVEPOINT"))]
        assert not [sql for sql in writes if sql.startswith(("INSERT", "UPDATE", "DELETE"))]
        assert not Fingerprint.objects.exists()


class TestPermissions:
    def test_nothing_without_view(self) -> None:
        """Other staff see neither the app nor its pages."""
        row, client = message(state="dead"), staff()
        assert "customerio" not in text(client.get("/admin/"))
        for address in (LIST, LEDGER, change(row), change(row, "resend"), change(row, "discard")):
            assert client.get(address).status_code == 403

    def test_nobody_without_a_login(self) -> None:
        """The buttons' addresses are behind the login like all others."""
        row = message(state="dead")
        for step in ("resend", "discard"):
            response = Client().post(change(row, step), {"confirmed": "yes"})
            assert response.status_code == 302
            assert "/login/" in response["Location"]
        row.refresh_from_db()
        assert row.state == "dead"

    def test_view_only(self) -> None:
        """Who may only look gets no actions and no buttons, and cannot act by hand."""
        row, client = message(state="dead"), staff("view_outboxmessage")
        assert 'name="action"' not in text(client.get(LIST))
        assert "cio-tool" not in text(client.get(change(row)))
        for step in ("resend", "discard"):
            assert client.post(change(row, step), {"confirmed": "yes"}).status_code == 403
            client.post(LIST, {"action": step, "_selected_action": row.pk, "confirmed": "yes"})
        row.refresh_from_db()
        assert row.state == "dead"

    def test_one_permission_is_not_the_other(self) -> None:
        """Resending and discarding are granted apart."""
        row = message(state="dead")
        client = staff("view_outboxmessage", "resend_outboxmessage")
        page = text(client.get(change(row)))
        assert "cio-tool-resend" in page
        assert "cio-tool-discard" not in page
        assert 'value="discard"' not in text(client.get(LIST))
        assert client.post(change(row, "discard"), {"confirmed": "yes"}).status_code == 403

    def test_resend_without_view_is_refused(self) -> None:
        """What one may not see one may not touch."""
        row, client = message(state="dead"), staff("resend_outboxmessage")
        assert client.post(change(row, "resend"), {"confirmed": "yes"}).status_code == 403

    def test_csrf(self) -> None:
        """A form of another site does nothing."""
        row = message(state="dead")
        user = Customer.objects.create_superuser("root")
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        assert client.post(change(row, "resend"), {"confirmed": "yes"}).status_code == 403


class TestButtons:
    def test_get_has_no_side_effect(self, boss: Client) -> None:
        """A link that was followed, or fetched ahead, only asks."""
        row = message(state="dead")
        for step in ("resend", "discard"):
            assert '<form method="post">' in text(boss.get(change(row, step)))
            assert boss.head(change(row, step)).status_code == 200
            assert boss.put(change(row, step)).status_code == 405
        row.refresh_from_db()
        assert row.state == "dead"
        assert not LogEntry.objects.exists()

    def test_resend(self, boss: Client) -> None:
        """One click makes a dead message pending, as new, and logs who did it."""
        row = message(
            state="dead",
            attempts=12,
            answer="no",
            first_failed_at=timezone.now(),
            body=event_body(4 * 86400),
        )
        response = boss.post(change(row, "resend"), follow=True)
        assert told(response) == ["1 of 1 message will be sent again."]
        row.refresh_from_db()
        assert (row.state, row.attempts, row.answer) == ("pending", 0, "")
        entry = LogEntry.objects.get()
        assert (entry.action_flag, entry.object_id) == (CHANGE, str(row.pk))
        assert entry.get_change_message() == "Resent."
        assert str(entry.user_id) == boss.session["_auth_user_id"]

    def test_resend_wakes_sending(
        self, boss: Client, django_capture_on_commit_callbacks: Any
    ) -> None:
        """Once committed, the sender is told to look."""
        row = message(state="dead", body=event_body(4 * 86400))
        with django_capture_on_commit_callbacks() as callbacks:
            boss.post(change(row, "resend"))
        assert len(callbacks) == 1

    def test_discard_asks_first(self, boss: Client) -> None:
        """What cannot be undone takes a second click."""
        row = message(state="dead")
        page = text(boss.post(change(row, "discard")))
        assert "cannot be undone" in page
        assert OutboxMessage.objects.filter(pk=row.pk).exists()
        response = boss.post(change(row, "discard"), {"confirmed": "yes"}, follow=True)
        assert told(response) == ["1 of 1 message was discarded."]
        assert not OutboxMessage.objects.exists()
        entry = LogEntry.objects.get()
        assert (entry.action_flag, entry.object_id) == (DELETION, str(row.pk))

    def test_held_is_stamped_for_this_site(self, boss: Client) -> None:
        """Resending what was meant for another site means it for this one."""
        row = message(state="held", site="elsewhere", kind="state", model="shop.lead")
        boss.post(change(row, "resend"))
        row.refresh_from_db()
        assert (row.state, row.site) == ("pending", get_workspace().site)

    def test_pending_has_no_resend(self, boss: Client) -> None:
        """What is on its way is not sent twice."""
        row = message()
        page = text(boss.get(change(row)))
        assert "cio-tool-resend" not in page
        assert "cio-tool-discard" in page
        response = boss.post(change(row, "resend"), {"confirmed": "yes"}, follow=True)
        assert told(response) == [
            "0 of 1 message will be sent again. Skipped 1 that is on its way already."
        ]
        assert not LogEntry.objects.exists()

    def test_gone_meanwhile(self, boss: Client) -> None:
        """Sent between the look and the click: a sentence, no error."""
        row = message(state="dead")
        address = change(row, "resend")
        row.delete()
        response = boss.post(address, {"confirmed": "yes"}, follow=True)
        assert told(response) == ["The message was sent or discarded meanwhile."]

    def test_filters_are_kept(self, boss: Client) -> None:
        """After the click the list is as it was."""
        row = message(state="dead", kind="state", body="")
        response = boss.post(f"{change(row, 'resend')}?_changelist_filters=state__exact%3Ddead")
        assert response["Location"] == f"{LIST}?state__exact=dead"
        page = text(boss.get(f"{change(row)}?_changelist_filters=state__exact%3Ddead"))
        assert f"{change(row, 'discard')}?_changelist_filters=state__exact%3Ddead" in page


class TestFreshEvents:
    @pytest.mark.parametrize("kind", ["event", "anonymous_event", "page", "screen"])
    def test_warns_before_a_campaign_can_start(self, boss: Client, kind: str) -> None:
        """An event of the last 72 hours is not resent without a warning."""
        row = message(state="dead", kind=kind, body=event_body(71 * 3600))
        page = text(boss.post(change(row, "resend")))
        assert "happened less than 72 hours ago" in page
        row.refresh_from_db()
        assert row.state == "dead"
        boss.post(change(row, "resend"), {"confirmed": "yes"})
        row.refresh_from_db()
        assert row.state == "pending"

    def test_own_time_of_the_event_decides(self, boss: Client) -> None:
        """Said today of last week: no campaign, no warning."""
        row = message(state="dead", body=event_body(7 * 86400))
        assert "72 hours" not in text(boss.get(change(row, "resend")))

    def test_without_a_time_it_happened_when_it_was_said(self, boss: Client) -> None:
        """No timestamp, or no JSON at all: the row's own age decides."""
        for body in ("{}", "[]", "nonsense", '{"timestamp":null}'):
            row = message(state="dead", body=body)
            assert "72 hours" in text(boss.get(change(row, "resend")))
            OutboxMessage.objects.update(created_at=timezone.now() - timedelta(hours=73))
            assert "72 hours" not in text(boss.get(change(row, "resend")))

    def test_other_kinds_start_nothing(self, boss: Client) -> None:
        """A state or a delete starts no campaign of events."""
        for kind in ("state", "identify", "delete"):
            row = message(state="dead", kind=kind, body=event_body(60))
            assert "72 hours" not in text(boss.get(change(row, "resend")))

    def test_discarding_warns_of_nothing(self, boss: Client) -> None:
        """What is thrown away starts no campaign."""
        row = message(state="dead", body=event_body(60))
        assert "72 hours" not in text(boss.get(change(row, "discard")))


class TestBulk:
    def post(self, client: Client, action: str, *ids: Any, **data: Any) -> Any:
        """Choose rows in the list and start an action."""
        return client.post(
            LIST, {"action": action, "_selected_action": list(ids), **data}, follow=True
        )

    def test_resend_says_how_many_of_how_many(self, boss: Client) -> None:
        """Those that cannot be resent are counted and explained."""
        old = event_body(5 * 86400)
        dead = [message(state="dead", body=old) for _ in range(2)]
        held = message(state="held", body=old)
        pending = message(body=old)
        response = self.post(boss, "resend", *[row.pk for row in dead], held.pk, pending.pk, 999)
        assert told(response) == [
            "3 of 5 messages will be sent again. Skipped 1 that is on its way already. "
            "Skipped 1 that was sent or discarded meanwhile."
        ]
        assert OutboxMessage.objects.filter(state="pending").count() == 4
        logged = set(LogEntry.objects.values_list("object_id", flat=True))
        assert logged == {str(row.pk) for row in [*dead, held]}

    def test_row_that_left_the_filtered_list_is_explained(self, boss: Client) -> None:
        """In a list of dead rows, one that another person just resent is not simply absent."""
        row = message()
        response = boss.post(
            f"{LIST}?state__exact=dead",
            {"action": "resend", "_selected_action": [row.pk]},
            follow=True,
        )
        assert "on its way already" in told(response)[0]

    def test_discard_asks_then_deletes(self, boss: Client) -> None:
        """The page lists what will go; its form repeats the choice."""
        rows = [message(state="dead", person=f"id:{n}") for n in range(25)]
        page = text(self.post(boss, "discard", *[row.pk for row in rows]))
        assert page.count("cio-badge-dead") == outbox.SHOWN
        assert "and 5 more" in page
        assert page.count('name="_selected_action"') == 25
        response = self.post(boss, "discard", *[row.pk for row in rows], confirmed="yes")
        assert told(response) == ["25 of 25 messages were discarded."]
        assert LogEntry.objects.filter(action_flag=DELETION).count() == 25

    def test_confirmation_tells_of_those_that_cannot(self, boss: Client) -> None:
        """A choice with pending rows says how many will be resent."""
        row, other = message(state="dead", body=event_body(60)), message()
        page = text(self.post(boss, "resend", row.pk, other.pk))
        assert "1 of 2 chosen" in page

    def test_nothing_to_do_offers_no_button(self, boss: Client) -> None:
        """A page about nothing cannot be confirmed."""
        page = text(boss.get(change(message(), "resend")))
        assert 'value="Yes, resend"' not in page
        assert "0 of 1 chosen" in page

    def test_all_that_match(self, boss: Client) -> None:
        """Across pages, the filter chooses."""
        old = event_body(5 * 86400)
        message(state="dead", name="keep", body=old)
        rows = [message(state="dead", name="go", body=old) for _ in range(3)]
        boss.post(
            f"{LIST}?q=go",
            {"action": "resend", "_selected_action": [rows[0].pk], "select_across": "1"},
        )
        assert OutboxMessage.objects.filter(name="go", state="pending").count() == 3
        assert OutboxMessage.objects.get(name="keep").state == "dead"

    def test_bounded(self, boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        """A page takes so many at a time and names the command for more."""
        monkeypatch.setattr(outbox, "LIMIT", 2)
        old = event_body(5 * 86400)
        rows = [message(state="dead", body=old) for _ in range(4)]
        response = self.post(boss, "resend", *[row.pk for row in rows])
        assert "customerio_resend" in told(response)[0]
        assert "2 of 2" in told(response)[1]
        assert OutboxMessage.objects.filter(state="pending").count() == 2
        response = self.post(boss, "resend", rows[0].pk, select_across="1")
        assert "customerio_resend" in told(response)[0]

    def test_many_in_few_statements(self, boss: Client) -> None:
        """A hundred rows do not take a hundred statements."""
        old = event_body(5 * 86400)
        rows = [message(state="dead", body=old) for _ in range(100)]
        with CaptureQueriesContext(connection) as queries:
            self.post(boss, "resend", *[row.pk for row in rows])
        assert len(queries) < 40
        assert LogEntry.objects.count() == 100


class TestLedger:
    def test_list_and_detail(self, boss: Client) -> None:
        """Who was told what, when and why; names, no values."""
        row = sent(cause="/profile/", answer="200", model="shop.reader", object_pk="5")
        page = text(boss.get(LEDGER))
        for expected in ("identify", "id:42", "email, first_name", "/profile/"):
            assert expected in page
        page = text(boss.get(f"{LEDGER}{row.pk}/change/"))
        for expected in ("accepted", "email, first_name", row.ulid, "shop.reader 5", "200"):
            assert expected in page
        assert "-" in text(boss.get(f"{LEDGER}{sent().pk}/change/"))

    def test_search_by_person(self, boss: Client) -> None:
        """Exactly one person, by key or identifier."""
        row, other = sent(person="id:7"), sent(person="id:77")
        page = text(boss.get(LEDGER, {"q": "7"}))
        assert f"{LEDGER}{row.pk}/change/" in page
        assert f"{LEDGER}{other.pk}/change/" not in page

    def test_filters(self, boss: Client) -> None:
        """Kind and workspace."""
        row, other = sent(kind="event", workspace="brand_b"), sent()
        for query in ({"kind__exact": "event"}, {"workspace": "brand_b"}):
            page = text(boss.get(LEDGER, query))
            assert f"{LEDGER}{row.pk}/change/" in page
            assert f"{LEDGER}{other.pk}/change/" not in page

    def test_read_only(self, boss: Client) -> None:
        """The ledger is not written by hand."""
        row = sent()
        assert boss.get(f"{LEDGER}add/").status_code == 403
        assert boss.post(f"{LEDGER}{row.pk}/change/", {}).status_code == 403
        assert boss.post(f"{LEDGER}{row.pk}/delete/", {"post": "yes"}).status_code == 403

    def test_empty_and_gone(self, boss: Client) -> None:
        """An empty ledger says why it may be empty; a pruned entry is no error page."""
        assert "Nothing was sent yet" in text(boss.get(LEDGER))
        assert boss.get(f"{LEDGER}999/change/").status_code == 302

    def test_no_query_for_each_row(self, boss: Client) -> None:
        """Ten rows take as many statements as one."""
        sent()
        boss.get(LEDGER)
        with CaptureQueriesContext(connection) as one:
            boss.get(LEDGER)
        for _ in range(9):
            sent()
        with CaptureQueriesContext(connection) as ten:
            boss.get(LEDGER)
        assert len(ten) == len(one)


def test_times_without_time_zones() -> None:
    """A site with USE_TZ = False has naive times; they are shown as they are."""
    moment = datetime(2026, 11, 24, 12, 30)
    assert display.exact(moment) == "2026-11-24 12:30:00.000"
    with override_settings(USE_TZ=False):
        assert "ago)" in display.moment_with_age(timezone.now() - timedelta(hours=1))


def test_admin_passes_its_checks() -> None:
    """Django finds nothing wrong with the admin classes."""
    call_command("check", tags=["admin"])
    assert cio_admin.OutboxMessageAdmin.list_per_page == 50
    assert not cio_admin.OutboxMessageAdmin.show_full_result_count
    assert decisions.LIMIT == 1000
