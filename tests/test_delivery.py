"""From a saved model to Customer.io, and what becomes of each answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connections, transaction

import django_customerio as cio
from django_customerio import delivery, outcomes
from django_customerio.dispatch import Dispatch
from django_customerio.exceptions import SendingRefused
from django_customerio.identifiers import lane_of
from django_customerio.mapping import registry
from django_customerio.models import Fingerprint, Lane, OutboxMessage, SentMessage, Tombstone

from .fake import HangUp
from .shop.models import Account, Customer, Employee, Lead, Partner, Plan, Reader


def make(name: str = "ada", **fields: object) -> Customer:
    return Customer.objects.create_user(name, f"{name}@example.com", "pw", **fields)


def test_a_saved_model_is_identified(site, drain):
    """Saving queues a look; draining tells the row as it is now."""
    ada = make()
    ada.first_name = "Ada"
    ada.save()
    assert OutboxMessage.objects.count() == 2
    report = drain()
    assert (report.accepted, report.requests, report.outcome) == (2, 1, "empty")
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "Ada"
    assert not OutboxMessage.objects.exists()
    [sent] = SentMessage.objects.all()
    assert sent.kind == "identify"
    assert "first_name" in sent.attribute_names.split(",")


def test_nothing_new_is_not_said(site, drain):
    """A save that changes nothing mapped sends nothing."""
    ada = make()
    drain()
    ada.nickname = "countess"
    ada.save()
    report = drain()
    assert (report.dropped, report.requests) == (1, 0)


def test_only_what_differs_is_said(site, drain):
    """The second identify holds the changed attribute alone."""
    ada = make()
    drain()
    ada.first_name = "Augusta"
    ada.save()
    drain()
    assert site.batches[-1].items[0]["attributes"] == {"first_name": "Augusta"}


def test_rolled_back_says_nothing(site, drain):
    """Neither a row nor a request comes of a transaction that rolled back."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        make()
        raise ZeroDivisionError
    assert not OutboxMessage.objects.exists()
    assert drain().requests == 0


def test_events_keep_their_order(site, drain):
    """Events of one person arrive in the order in which they were tracked."""
    for number in range(20):
        cio.track("42", f"step_{number}", {"number": number})
    drain()
    assert [event["name"] for event in site.events()] == [f"step_{n}" for n in range(20)]
    assert len(site.batches) == 1


def test_delete_goes_alone_and_leaves_a_tombstone(site, drain):
    """A delete shares no request with others of its person; nothing is known afterwards."""
    ada = make()
    ada.customerio.track("bought")
    ada.delete()
    report = drain()
    assert report.outcome == "empty"
    assert site.actions() == ["bought", "delete"]
    assert len(site.batches) == 2
    assert not Fingerprint.objects.exists()
    assert Tombstone.objects.count() == 1


def test_a_repeated_delete_follows_when_nothing_newer_exists(site, drain, settle):
    """The delete is said once more when older requests can no longer be applied."""
    make("bob").delete()
    drain()
    settle()
    drain()
    assert site.actions() == ["delete", "delete"]
    settle()
    drain()
    assert len(site.applied) == 2


def test_a_person_created_anew_is_not_deleted_again(site, drain, settle):
    """A newer message of the person makes the repetition of the delete wrong."""
    cio.delete("42")
    drain()
    cio.track("42", "came_back")
    drain()
    settle()
    drain()
    assert site.actions() == ["delete", "came_back"]


def test_a_newer_message_that_still_waits_stops_the_repetition(site, drain, settle):
    """It counts when it is queued, not only when it was sent."""
    cio.delete("42")
    drain()
    settle()
    cio.track("42", "came_back")
    drain()
    assert site.actions() == ["delete", "came_back"]


def test_what_commits_late_below_a_delete_is_discarded(site, drain):
    """A row with a lower id than the delete of its person never brings them back."""
    cio.track("42", "late")
    [late] = OutboxMessage.objects.all()
    OutboxMessage.objects.all().delete()
    cio.delete("42")
    drain()
    late.save(force_insert=True)
    report = drain()
    assert report.discarded == 1
    assert site.actions() == ["delete"]


def test_when_turning_false_acts_as_a_delete(site, drain):
    """Somebody told before is deleted; somebody never told is not mentioned."""
    known = Employee.objects.create(name="K")
    drain()
    known.consented = False
    known.save()
    Employee.objects.create(name="N", consented=False)
    drain()
    assert site.actions() == ["identify", "hired", "delete"]
    assert site.people == {}


def test_events_of_the_excluded_are_dropped(site, drain):
    """``when`` is asked of events too, when they are sent."""
    hidden = Employee.objects.create(name="N", consented=False)
    hidden.customerio.track("clicked")
    report = drain()
    assert (report.accepted, report.dropped) == (0, 3)


def test_events_of_somebody_deleted_who_was_never_told_are_dropped(site, drain):
    """Nobody can say any more whether they were excluded."""
    hidden = Employee.objects.create(name="N", consented=False)
    hidden.customerio.track("clicked")
    Employee.objects.all().delete()
    drain()
    assert site.actions() == ["delete"]


def test_a_when_that_raises_sends_nothing(site, drain, monkeypatch):
    """The message is dead and says why, without a value."""
    monkeypatch.setattr(registry.get(Employee), "when", lambda employee: 1 / 0)
    registry.get(Employee).__dict__.pop("_reader", None)
    Employee.objects.create(name="secret name")
    report = drain()
    registry.get(Employee).__dict__.pop("_reader", None)
    assert report.dead == 2
    assert site.requests == []
    dead = OutboxMessage.objects.filter(state="dead").first()
    assert "ZeroDivisionError" in dead.answer
    assert "secret" not in dead.answer


def test_an_attribute_too_long_is_left_out_and_reported(site, drain, caplog):
    """The others go; the log names the attribute and not its value."""
    Reader.objects.create(email="a@example.com", name="Ann", topics=["x" * 2000])
    drain()
    [identify] = [item for item in site.applied if item.get("action") == "identify"]
    assert identify["attributes"] == {"name": "Ann"}
    assert "topics" in caplog.text
    assert "xxx" not in caplog.text


def test_a_cleared_attribute_is_taken_back(site, drain):
    """None is told as null where a value was told before, and only there."""
    account = Account.objects.create(customer=make(), favourite=Plan.objects.create(name="pro"))
    other = Account.objects.create(customer=make("bob"))
    drain()
    assert site.people[f"id:{other.pk}"] == {"credit": 0}
    account.favourite = None
    account.save()
    drain()
    assert site.batches[-1].items[0]["attributes"] == {"favourite": None}
    assert site.people[f"id:{account.pk}"] == {"credit": 0}


def test_update_only_never_creates(site, drain):
    """The identify carries ``_update``."""
    Lead.objects.create(name="L")
    drain()
    assert site.batches[0].items[0]["attributes"] == {"name": "L", "_update": True}
    assert site.people == {}


def test_consent_is_never_part_of_a_first_look(site, drain):
    """Invariant 14: ``owner="customerio"`` attributes are only remembered at first."""
    ada = make(is_unsubscribed=True)
    drain()
    assert "unsubscribed" not in site.people[f"id:{ada.uuid}"]


def test_an_opt_out_on_the_site_is_told_and_an_opt_in_is_not(site, drain):
    """A later change of the site's own goes over, unless it would opt somebody in again."""
    ada = make()
    drain()
    ada.is_unsubscribed = True
    ada.save()
    drain()
    assert site.people[f"id:{ada.uuid}"]["unsubscribed"] is True
    ada.is_unsubscribed = False
    ada.save()
    assert drain().dropped == 1
    assert site.people[f"id:{ada.uuid}"]["unsubscribed"] is True
    ada.customerio.identify({"unsubscribed": False})
    drain()
    assert site.people[f"id:{ada.uuid}"]["unsubscribed"] is False


def test_another_secret_key_changes_no_consent(site, drain, settings):
    """With another key nothing counts as known, and consent is only remembered again."""
    ada = make()
    drain()
    settings.SECRET_KEY = "another"
    Customer.objects.filter(pk=ada.pk).update(is_unsubscribed=True)
    ada.customerio.identify()
    drain()
    person = site.people[f"id:{ada.uuid}"]
    assert "unsubscribed" not in person
    assert site.batches[-1].items[0]["attributes"]["email"] == "ada@example.com"


def test_what_was_said_by_hand_gives_way_to_the_database(site, drain):
    """After an explicit identify the next look tells the database's value again."""
    ada = make(first_name="Ada")
    drain()
    ada.customerio.identify({"first_name": "Countess", "note": "x"})
    drain()
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "Countess"
    ada.save()
    drain()
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "Ada"
    assert site.people[f"id:{ada.uuid}"]["note"] == "x"


def test_a_person_known_by_another_id_by_now_is_told_once(site, drain):
    """A row queued under the old id says nothing; that of the new id does."""
    reader = Reader.objects.create(email="old@example.com", name="R")
    reader.email = "new@example.com"
    reader.save()
    drain()
    identifies = [i for i in site.applied if i.get("action") == "identify"]
    assert [i["identifiers"] for i in identifies] == [{"email": "new@example.com"}]


def test_an_unmapped_model_waits_for_a_newer_release_then_is_dead(site, drain, wait):
    """In a rolling deploy another process may know it already; in the end a person decides."""
    make()
    OutboxMessage.objects.update(model="shop.gone")
    cio.track("42", "bought")
    report = drain()
    assert (report.dead, report.accepted) == (0, 1)
    row = OutboxMessage.objects.get()
    assert (row.state, row.attempts) == ("pending", 1)
    assert "shop.gone" in row.answer
    for _ in range(outcomes.UNMAPPED_LOOKS):
        wait()
        report = drain()
    assert report.dead == 1
    assert "shop.gone" in OutboxMessage.objects.get(state="dead").answer


def test_what_waited_unmapped_is_told_once_it_is_mapped(site, drain, wait):
    """Nothing of it is lost."""
    ada = make()
    OutboxMessage.objects.update(model="shop.gone")
    drain()
    OutboxMessage.objects.update(model="shop.customer")
    wait()
    drain()
    assert site.people[f"id:{ada.uuid}"]["email"] == "ada@example.com"


def test_expired_messages_are_dropped(site, drain):
    """``expires`` is kept: what is worthless by now is not sent."""
    cio.track("42", "flash_sale", expires=timedelta(seconds=-1))
    cio.track("42", "sale", expires=timedelta(hours=1))
    report = drain()
    assert (report.expired, report.accepted) == (1, 1)
    assert site.actions() == ["sale"]


def test_a_copied_database_sends_nothing(site, drain, customerio):
    """Invariant 13: rows stamped for another site are held."""
    make()
    cio.track("42", "bought")
    customerio(SITE_ID="STAGING")
    report = drain()
    assert (report.held, report.requests) == (2, 0)
    assert set(OutboxMessage.objects.values_list("state", flat=True)) == {"held"}


def test_without_credentials_rows_wait(site, drain, customerio):
    """Nothing is sent and nothing lost; the report says why."""
    customerio(SITE_ID="", API_KEY="")
    cio.track("42", "bought")
    assert drain().outcome == "unconfigured"
    assert OutboxMessage.objects.count() == 1


def test_disabled_means_off(site, drain, customerio):
    """``ENABLED = False`` queues and sends nothing."""
    customerio(ENABLED=False)
    make()
    cio.track("42", "bought")
    assert not OutboxMessage.objects.exists()
    assert drain().outcome == "disabled"


def test_draining_inside_a_transaction_is_refused(site, drain):
    """Invariant 6: no request while a transaction is open."""
    with transaction.atomic(), pytest.raises(SendingRefused, match="transaction is open"):
        drain()


def test_no_transaction_is_open_while_a_request_is_under_way(site, drain):
    """Another connection can write to any row at that moment."""
    ada = make()
    seen = []

    def look(request):
        # In the thread of the server, so with a connection of its own.
        Customer.objects.update(last_name="L")
        OutboxMessage.objects.update(cause="free")
        seen.append(Lane.objects.update(failures=0))
        connections.close_all()
        return None

    site.answer = look
    ada.customerio.track("bought")
    drain()
    assert seen == [64]


def test_anonymous_events_go_one_by_one_by_version_1(site, drain):
    """Only version 1 takes them; others of the batch are not held up."""
    cio.track({"anonymous_id": "visitor"}, "looked", {"page": "/"})
    cio.track("42", "bought")
    drain()
    assert {request.path for request in site.requests} == {"/api/v1/events", "/api/v2/batch"}
    [event] = site.events("looked")
    assert event["anonymous_id"] == "visitor"


def test_a_merge_waits_for_what_the_other_still_has_to_say(site, drain):
    """Older messages of the one who is merged away go first, whatever their lane."""
    for number in range(5):
        cio.track({"email": "b@example.com"}, f"step_{number}")
    cio.merge("5", {"email": "b@example.com"})
    cio.track("5", "after")
    drain()
    actions = site.actions()
    assert actions.index("merge") > actions.index("step_4")
    assert actions.index("after") > actions.index("merge")


def test_a_merge_is_repeated_for_what_comes_late(site, drain, settle):
    """What names the merged person again late is folded in once more."""
    cio.merge("5", {"email": "b@example.com"})
    drain()
    settle()
    drain()
    assert site.actions() == ["merge", "merge"]


def test_batches_keep_the_limits(site, drain):
    """Invariant 7: at most 475,000 bytes and 500 items, and never an empty batch."""
    for number in range(60):
        cio.track(str(number % 7), "big", {"text": "x" * 20_000})
    for number in range(1100):
        cio.track("busy", "small", {"n": number})
    report = drain()
    assert report.accepted == 1160
    for request in site.batches:
        assert len(request.body) <= 475_000
        assert 0 < len(request.items) <= 500
    assert [e["attributes"]["n"] for e in site.events("small")] == list(range(1100))


def test_a_budget_stops_between_batches(site, drain):
    """Nothing more begins after the budget, and the lanes are given back."""
    cio.track("42", "bought")
    report = drain(budget=0)
    assert (report.outcome, report.requests) == ("stopped", 0)
    assert not Lane.objects.exclude(token="").exists()


def test_no_ledger_when_none_is_kept(site, drain, customerio):
    """``KEEP_SENT = None`` writes no ledger."""
    customerio(KEEP_SENT=None)
    make()
    cio.track("42", "bought")
    drain()
    assert not SentMessage.objects.exists()


def test_the_ledger_holds_no_values(site, drain):
    """It tells who, what and when, and the names of attributes only."""
    ada = make(first_name="Ada")
    ada.customerio.track("bought", {"secret": "hush-hush"})
    ada.customerio.identify({"shoe_size": 38})
    drain()
    said = {sent.kind: sent for sent in SentMessage.objects.all()}
    assert said["event"].name == "bought"
    assert SentMessage.objects.filter(attribute_names="shoe_size").exists()
    everything = str([list(row) for row in SentMessage.objects.values_list()])
    assert "hush" not in everything
    assert "Ada" not in everything


def test_people_are_compared_by_bytes(site, drain):
    """``"Ab"`` and ``"ab"`` are two people, on MariaDB too, and so is one with a space."""
    for person in ("Ab", "ab", "ab "):
        cio.delete(person)
        cio.track(person, "back")
    drain()
    assert Tombstone.objects.filter(person="id:ab").count() == 1
    assert set(site.people) == {"id:Ab", "id:ab", "id:ab "}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_databases_are_drained_apart(site, drain):
    """A row on another database has its own outbox there."""
    Reader.objects.using("other").create(email="o@example.com", name="O")
    assert drain().accepted == 0
    assert drain(using="other").accepted == 2
    assert site.people["email:o@example.com"] == {"name": "O", "topics": []}


def cut(request):
    """Take effect, and answer nothing."""
    raise HangUp(applied=True)


def test_a_value_that_goes_back_after_a_lost_answer_is_told(site, drain, wait):
    """What was applied without an answer counts as unknown, not as never told."""
    ada = make(first_name="A")
    drain()
    ada.first_name = "B"
    ada.save()
    site.answer = cut
    drain()
    wait()
    site.answer = None
    ada.first_name = "A"
    ada.save()
    drain()
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "A"


def test_a_value_that_is_cleared_after_a_lost_answer_is_taken_back(site, drain, wait):
    """Even if it was the first that was ever told."""
    account = Account.objects.create(customer=make(), favourite=Plan.objects.create(name="pro"))
    site.answer = cut
    drain()
    wait()
    site.answer = None
    account.favourite = None
    account.save()
    drain()
    assert "favourite" not in site.people[f"id:{account.pk}"]


def test_somebody_excluded_after_a_lost_answer_is_deleted(site, drain, wait):
    """Customer.io may know them."""
    employee = Employee.objects.create(name="K")
    site.answer = cut
    drain()
    wait()
    site.answer = None
    employee.consented = False
    employee.save()
    drain()
    wait()
    drain()
    assert site.people == {}


def test_a_lost_answer_loses_no_opt_out_and_tells_no_opt_in(site, drain, wait):
    """Invariant 14, when it is unknown what Customer.io holds."""
    ada = make()
    drain()
    ada.is_unsubscribed = True
    ada.save()
    site.answer = lambda request: (503, {})
    drain()
    wait()
    site.answer = None
    drain()
    assert site.people[f"id:{ada.uuid}"]["unsubscribed"] is True
    site.answer = cut
    ada.is_unsubscribed, ada.first_name = False, "Ada"
    ada.save()
    drain()
    wait()
    site.answer = None
    drain()
    assert site.people[f"id:{ada.uuid}"]["unsubscribed"] is True
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "Ada"


@pytest.mark.parametrize("how", ["raises", "vanishes"])
def test_what_a_worker_that_ended_may_have_told_is_told_again(site, drain, monkeypatch, how):
    """Nobody knows what became of its request."""
    ada = make(first_name="A")
    drain()
    ada.first_name = "B"
    ada.save()
    if how == "raises":

        def end(*args):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Dispatch, "_accept", end)
            drain()
    else:
        site.people[f"id:{ada.uuid}"]["first_name"] = "B"
        Lane.objects.filter(number=lane_of(f"id:{ada.uuid}")).update(token="x", leased_until=1)
    ada.first_name = "A"
    ada.save()
    drain()
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "A"


def test_a_look_after_an_explicit_identify_in_one_batch(site, drain):
    """It is not answered by what was known before that."""
    ada = make(first_name="Ada")
    drain()
    ada.customerio.identify({"first_name": "X"})
    ada.save()
    drain()
    assert site.people[f"id:{ada.uuid}"]["first_name"] == "Ada"


def test_what_was_said_by_hand_is_taken_back_where_the_database_holds_nothing(site, drain):
    """Null is a value of the database's own."""
    account = Account.objects.create(customer=make())
    drain()
    account.customerio.identify({"favourite": "x"})
    drain()
    account.save()
    drain()
    assert "favourite" not in site.people[f"id:{account.pk}"]


def test_two_maps_may_tell_of_one_person(site, drain):
    """Neither's look answers the other's, and neither forgets what the other told."""
    partner = Partner.objects.create_user("p", "p@example.com", "pw", company="ACME")
    Customer.objects.get(pk=partner.pk).save()
    drain()
    partner.company = "B"
    Customer.objects.get(pk=partner.pk).save()
    partner.save()
    drain()
    assert site.people[f"id:{partner.uuid}"]["company"] == "B"
    partner.save()
    assert drain().requests == 0


def test_a_look_that_says_nothing_does_not_stop_the_repetition(site, drain, settle):
    """Only something that was said of the person makes it wrong."""
    employee = Employee.objects.create(name="K")
    drain()
    employee.consented = False
    employee.save()
    drain()
    employee.notes = "x"
    employee.save()
    drain()
    settle()
    drain()
    assert site.actions()[-2:] == ["delete", "delete"]


def test_repetitions_keep_the_limits(site, drain, settle):
    """Invariant 7, after many were deleted at once."""
    for number in range(1100):
        cio.delete(str(number))
    drain()
    settle()
    site.requests.clear()
    drain()
    sizes = [len(request.items) for request in site.batches]
    assert max(sizes) <= 500
    assert sum(sizes) == 1100


def test_a_worker_that_overslept_buries_nobody_who_is_back(site, drain, settle):
    """The next owner of the lane said the delete again, and what came after it."""
    employee = Employee.objects.create(name="K")
    drain()
    pk = employee.pk
    employee.delete()
    Employee.objects.create(pk=pk, name="again")
    slept = []

    def oversleep(request):
        if slept or b'"delete"' not in request.body:
            return None
        slept.append(1)
        site.apply(request.items)
        Lane.objects.exclude(token="").update(leased_until=1)
        drain()
        connections.close_all()
        return 200, {}

    site.answer = oversleep
    drain()
    assert f"id:{pk}" in site.people
    settle()
    drain()
    assert f"id:{pk}" in site.people


def test_a_row_that_cannot_be_loaded_blocks_nobody(site, drain, monkeypatch):
    """The others of its batch are told; it is dead, and says why without a value."""
    good, bad = make("good"), make("bad")
    person_map = registry.get(Customer)
    real = type(person_map).read

    def read(self, pks, *, using):
        if str(bad.pk) in pks:
            raise ValueError("secret")
        return real(self, pks, using=using)

    monkeypatch.setattr(type(person_map), "read", read)
    report = drain()
    assert (report.accepted, report.dead) == (1, 1)
    assert f"id:{good.uuid}" in site.people
    answer = OutboxMessage.objects.get().answer
    assert "ValueError" in answer
    assert "secret" not in answer


def test_an_unsuppress_shares_no_request_with_what_follows(site, drain):
    """It must have been worked through before."""
    cio.unsuppress("42")
    cio.identify("42", {"a": 1})
    drain()
    assert [len(request.items) for request in site.batches] == [1, 1]


def test_another_secret_key_forgets_nobody(site, drain, settings):
    """Somebody excluded afterwards is deleted all the same."""
    employee = Employee.objects.create(name="K")
    drain()
    settings.SECRET_KEY = "another"
    employee.consented = False
    employee.save()
    drain()
    assert site.people == {}


def test_draining_without_autocommit_is_refused(site, drain):
    """No lease would ever be committed."""
    connection = connections["default"]
    connection.set_autocommit(False)
    try:
        with pytest.raises(SendingRefused, match="autocommit"):
            drain()
    finally:
        connection.rollback()
        connection.set_autocommit(True)


def test_events_alone_leave_no_ledger_when_none_is_kept(site, drain, customerio):
    """``KEEP_SENT = None`` on the shortest path, too."""
    customerio(KEEP_SENT=None)
    cio.track("42", "bought")
    assert drain().accepted == 1
    assert not SentMessage.objects.exists()
    assert not OutboxMessage.objects.exists()


def test_an_event_of_a_row_that_cannot_be_loaded_is_dead(site, drain, monkeypatch):
    """Whether its person is excluded cannot be known; others are not kept back."""
    hidden = Employee.objects.create(name="N")
    drain()
    hidden.customerio.track("clicked")
    cio.track("42", "bought")

    def fail(pks, *, using):
        raise RuntimeError("hush")

    monkeypatch.setattr(registry.get(Employee), "read", fail)
    report = drain()
    assert (report.dead, report.accepted) == (1, 1)
    assert "hush" not in OutboxMessage.objects.get().answer


def test_a_database_that_fails_while_people_are_read_kills_nobody(site, drain, monkeypatch):
    """The error is the caller's; the rows stay as they are."""
    Employee.objects.create(name="N")

    def fail(pks, *, using):
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(registry.get(Employee), "read", fail)
        with pytest.raises(OperationalError):
            drain()
    assert OutboxMessage.objects.filter(state="pending", attempts=0).count() == 2
    assert drain().accepted == 2


def test_a_lane_is_given_back_now_and_then(site, drain, monkeypatch):
    """However deep it is, others have their turn; and late commits are looked for."""
    monkeypatch.setattr(delivery, "BATCHES_PER_TURN", 2)
    monkeypatch.setattr(delivery, "SWEEP", 0.0)
    for number in range(1600):
        cio.track("42", f"step_{number}")
    epochs = Lane.objects.filter(number=lane_of("id:42"))
    assert drain().accepted == 1600
    assert epochs.get().epoch >= 2
    assert [e["name"] for e in site.events()] == [f"step_{n}" for n in range(1600)]


def test_a_repeated_delete_that_is_refused_is_not_said_for_ever(site, drain, settle):
    """The first one was accepted; nobody is left to tell of the second."""
    cio.delete("42")
    drain()
    settle()
    site.answer = lambda request: (400, {})
    report = drain()
    assert (report.dead, report.requests) == (0, 1)
    assert not Tombstone.objects.filter(repeat_at__gt=0).exists()


def test_lanes_that_others_snatch_are_left_to_them(site, drain, monkeypatch):
    """Another worker was quicker at every one of them."""
    cio.track("42", "bought")
    monkeypatch.setattr("django_customerio.lanes.lease", lambda view, **options: None)
    report = drain()
    assert (report.outcome, report.requests) == ("busy", 0)
