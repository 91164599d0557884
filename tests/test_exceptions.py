"""The tree of errors: what each one is, what it carries, and that it survives pickling."""

from __future__ import annotations

import pickle

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_customerio import exceptions
from django_customerio.exceptions import (
    APIConnectionError,
    APIError,
    APITimeout,
    AuthenticationFailed,
    CustomerIOError,
    InvalidAttribute,
    InvalidMessage,
    ItemError,
    MessageTooLarge,
    NotMapped,
    QueueFull,
    RateLimited,
    RequestRefused,
    RetriesExhausted,
    SendingRefused,
    ServerError,
    UnusableAnswer,
    WrongEndpoint,
    WrongRegion,
)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (InvalidMessage, (CustomerIOError, ValueError)),
        (InvalidAttribute, (InvalidMessage, TypeError)),
        (MessageTooLarge, (InvalidMessage,)),
        (NotMapped, (CustomerIOError, TypeError)),
        (QueueFull, (CustomerIOError,)),
        (SendingRefused, (CustomerIOError, RuntimeError)),
        (APIConnectionError, (APIError,)),
        (APITimeout, (APIConnectionError,)),
        (WrongRegion, (WrongEndpoint,)),
    ],
)
def test_each_error_can_be_caught_as_what_python_calls_it(
    kind: type[Exception], bases: tuple[type[Exception], ...]
) -> None:
    """A caller who knows only Python's own errors catches ours too."""
    for base in bases:
        assert issubclass(kind, base)


def test_the_tree_has_one_root_and_configuration_is_no_part_of_it() -> None:
    """Every error of the module is a CustomerIOError, none an ImproperlyConfigured."""
    kinds = [each for each in vars(exceptions).values() if isinstance(each, type)]
    errors = [each for each in kinds if issubclass(each, Exception)]
    assert len(errors) == 18
    for each in errors:
        assert issubclass(each, CustomerIOError)
        assert not issubclass(each, ImproperlyConfigured)


def test_which_errors_are_worth_another_try() -> None:
    """Faults of the network and of a busy server are; refusals are not."""
    retryable = {
        each.__name__
        for each in vars(exceptions).values()
        if isinstance(each, type) and issubclass(each, CustomerIOError) and each.retryable
    }
    assert retryable == {
        "APIConnectionError",
        "APITimeout",
        "RateLimited",
        "RetriesExhausted",
        "ServerError",
    }


ITEM = ItemError(index=1, reason="invalid", field="name", message="no")
LAST = RateLimited(
    "slow down", status=429, method="POST", endpoint="/api/v2/batch", retry_after=7.5
)


@pytest.mark.parametrize(
    "error",
    [
        InvalidMessage("bad", field="plan"),
        InvalidAttribute("bad", field="plan"),
        MessageTooLarge("big"),
        NotMapped("who"),
        RequestRefused("no", status=400, method="POST", endpoint="/x", errors=(ITEM,)),
        AuthenticationFailed("no", status=401),
        UnusableAnswer("no", status=200),
        ServerError("busy", status=503, retry_after=2.0),
        RetriesExhausted.of(LAST, 4),
    ],
)
def test_errors_survive_pickling(error: CustomerIOError) -> None:
    """Task queues and parallel test runners hand them to other processes."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {**vars(again), "last": None} == {**vars(error), "last": None}


def test_exhausted_retries_speak_for_the_last_error() -> None:
    """What the last attempt met is found on the error itself."""
    error = RetriesExhausted.of(LAST, 4)
    assert str(error) == "Gave up, tried 4 times. slow down"
    assert error.last is LAST
    assert error.attempts == 4
    assert error.retry_after == 7.5
    assert (error.status, error.method, error.endpoint) == (429, "POST", "/api/v2/batch")
    assert str(RetriesExhausted.of(LAST, 1)) == "Gave up, tried once. slow down"


def test_what_customer_io_wrote_stays_out_of_the_text() -> None:
    """The words of an answer may quote a value; the text that is logged has none of them."""
    secret = ItemError(0, "invalid", "email", "jane@example.com is odd")
    error = RequestRefused("POST /x was answered 400.", status=400, errors=(secret,))
    assert "jane" not in str(error)
    assert "jane" not in repr(error)
    assert error.errors[0].message == "jane@example.com is odd"
