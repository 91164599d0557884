"""What a person decides about messages."""

from __future__ import annotations

import pytest

import django_customerio as cio
from django_customerio.models import OutboxMessage
from django_customerio.recovery import discard, resend


def ids(**filters):
    return list(OutboxMessage.objects.filter(**filters).values_list("pk", flat=True))


@pytest.mark.parametrize("state", ["dead", "held"])
def test_resend_sends_again(site, drain, state):
    """As if it were new, meant for the site as it is set now."""
    cio.track("42", "a")
    OutboxMessage.objects.update(state=state, attempts=12, answer="no", site="else", retry_at=9)
    [pk] = ids()
    assert resend([pk], using="default") == [pk]
    row = OutboxMessage.objects.get()
    assert (row.state, row.attempts, row.answer, row.retry_at) == ("pending", 0, "", 0)
    assert drain().accepted == 1


def test_resend_leaves_pending_rows_alone(site):
    """A worker may be sending them."""
    cio.track("42", "a")
    OutboxMessage.objects.update(attempts=3)
    assert resend(ids(), using="default") == []
    assert OutboxMessage.objects.get().attempts == 3


def test_resend_leaves_workspaces_that_are_gone_alone(site):
    """Nobody could send them."""
    cio.track("42", "a")
    OutboxMessage.objects.update(state="dead", workspace="gone")
    assert resend(ids(), using="default") == []
    assert ids(state="dead")


def test_discard_deletes_for_good(site, drain):
    """In any state; what is gone already is not counted."""
    for name in ("a", "b", "c"):
        cio.track("42", name)
    OutboxMessage.objects.filter(name="b").update(state="dead")
    gone = ids()
    assert sorted(discard([*gone, 10**9], using="default")) == sorted(gone)
    assert drain().requests == 0


def test_many_at_once(site):
    """In chunks that every database takes."""
    for number in range(600):
        cio.track(str(number), "a")
    OutboxMessage.objects.update(state="dead")
    assert len(resend(ids(), using="default")) == 600
