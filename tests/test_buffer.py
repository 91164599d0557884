"""The queue "memory": what waits, when it is written, and what is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import django_customerio as cio
from django_customerio import buffer, inserts, queue
from django_customerio import writer as writer_module
from django_customerio.conf import get_workspace
from django_customerio.exceptions import QueueFull
from django_customerio.models import OutboxMessage
from django_customerio.signals import message_queued
from django_customerio.testing import live

from . import queues
from .processes import wait_until
from .shop.models import Plan, Reader
from .test_queue import WAKES
from .test_senders import until


@pytest.fixture
def memory(site, customerio, monkeypatch):
    """Change the setting; nothing is written by time unless a test asks."""
    monkeypatch.setattr(buffer, "_process", buffer._Process())

    def change(**options):
        customerio(**{"QUEUE": "memory", "MEMORY_SECONDS": 300, **options})

    change()
    yield change
    buffer.close()


@pytest.fixture
def broken(monkeypatch):
    """A database that lacks our table while the block lasts."""
    monkeypatch.setattr(writer_module, "FIRST_PAUSE", 0.01)

    @contextlib.contextmanager
    def block():
        queue.has_outbox("default")
        drop()
        try:
            yield
        finally:
            restore()

    return block


def drop() -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(OutboxMessage)


def restore() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(OutboxMessage)


def written() -> list[str]:
    """What stands in the outbox, in order: names, or kinds where there is none."""
    rows = OutboxMessage.objects.order_by("id").values_list("name", "kind")
    return [name or kind for name, kind in rows]


def the_writer() -> writer_module.Writer:
    found = buffer._writer("default")
    assert found
    return found


def rest() -> None:
    """Let the pause after a failure pass."""
    the_writer().retry_at = 0.0


# When it is written


def test_many_share_one_insert(memory):
    """They wait, and are written in their order by one statement."""
    for number in range(20):
        cio.track("42", f"step_{number}")
    cio.page("42", "/")
    cio.screen("42", "home")
    cio.track({"anonymous_id": "x"}, "seen")
    assert written() == []
    with CaptureQueriesContext(connection) as queries:
        assert buffer.flush() == 0
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]
    assert written() == [*(f"step_{number}" for number in range(20)), "/", "home", "seen"]


def test_a_row_is_that_of_the_call(memory):
    """Time, cause and stamp are those of the moment at which it was said."""
    before = timezone.now()
    cio.track("42", "bought", {"wörd": "🦄"}, expires=before)
    after = timezone.now()
    buffer.flush()
    row = OutboxMessage.objects.get()
    assert before <= row.created_at <= after
    assert row.ulid in row.body
    assert "🦄" in row.body
    assert row.size == len(row.body.encode())
    assert row.site == get_workspace().site
    assert row.cause.startswith("program ")
    assert abs((row.expires_at - before).total_seconds()) < 0.001
    assert (row.person, row.state, row.attempts, row.answer) == ("id:42", "pending", 0, "")


def test_it_arrives(memory, site, drain):
    """Delivery takes it like any other row."""
    cio.track("42", "a")
    cio.track("42", "b")
    buffer.flush()
    drain()
    assert site.actions() == ["a", "b"]


def test_enough_are_written_by_the_thread(memory):
    """MEMORY_SIZE messages wait for nothing."""
    memory(MEMORY_SIZE=3)
    cio.track("42", "a")
    cio.track("42", "b")
    assert written() == []
    cio.track("42", "c")
    assert until(lambda: written() == ["a", "b", "c"])


def test_few_are_written_after_a_time(memory):
    """MEMORY_SECONDS after the first, and again after a pause of the site."""
    memory(MEMORY_SECONDS=0.02)
    cio.track("42", "a")
    assert until(lambda: written() == ["a"])
    time.sleep(0.1)
    cio.track("42", "b")
    assert until(lambda: written() == ["a", "b"])


def test_the_sender_is_woken_after_the_write(memory):
    """Not before, and once."""
    memory(SENDER="tests.test_queue.CountingSender")
    WAKES.clear()
    cio.track("42", "a")
    cio.track("42", "b")
    assert WAKES == []
    buffer.flush()
    buffer.flush()
    assert WAKES == [("default", False)]


def test_each_database_has_its_own(memory, monkeypatch):
    """What is said on one is not written to the other."""
    monkeypatch.setattr(buffer, "needs_caller", lambda alias: alias == "other")
    cio.track("42", "a")
    assert buffer._writer("other") is None
    buffer.cancel(using="other", workspace="default", person="id:42")
    buffer.cancel(using="nowhere", workspace="default", person="id:42")
    assert buffer.flush() == 0
    assert written() == ["a"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_two_databases(memory):
    """Each commits for itself."""
    cio.track("42", "a")
    cio.track("42", "b", using="other")
    buffer.flush()
    assert written() == ["a"]
    assert OutboxMessage.objects.using("other").get().name == "b"


def test_sqlite_without_immediate_writes_at_once(memory, monkeypatch):
    """There a thread that writes would break the site's own transactions."""
    monkeypatch.setattr(buffer, "needs_caller", lambda alias: True)
    cio.track("42", "a")
    assert written() == ["a"]


def test_the_signal_tells_of_the_call(memory):
    """Like that of a row which is inserted at once."""
    heard = []

    def receiver(kind, ulid, **kwargs):
        heard.append((kind, ulid))

    message_queued.connect(receiver)
    try:
        cio.track("42", "a")
    finally:
        message_queued.disconnect(receiver)
    buffer.flush()
    assert heard == [("event", OutboxMessage.objects.get().ulid)]


def test_nothing_waits_in_a_test_run(db, settings):
    """Unless it asks."""
    settings.CUSTOMERIO = {"QUEUE": "memory"}
    cio.track("42", "a")
    assert buffer.flush() == 0


def test_leaving_live_writes_and_ends_the_thread(memory):
    """So that the test database can be removed."""
    with live():
        cio.track("42", "a")
        assert any("buffer" in thread.name for thread in threading.enumerate())
    assert written() == ["a"]
    assert not any("buffer" in thread.name for thread in threading.enumerate())


# Transactions


@pytest.mark.parametrize("fails", ["inner", "outer", "none"])
def test_what_is_rolled_back_never_waits(memory, fails):
    """Savepoints included, and what is left keeps its order."""
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        cio.track("42", "before")
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            cio.track("42", "inner")
            cio.track("42", "inner_too")
            if fails == "inner":
                raise ZeroDivisionError
        cio.track("42", "outer")
        assert not the_writer().rows
        if fails == "outer":
            raise ZeroDivisionError
    buffer.flush()
    assert (
        written()
        == {
            "inner": ["before", "outer"],
            "outer": [],
            "none": ["before", "inner", "inner_too", "outer"],
        }[fails]
    )


def test_a_transaction_registers_one_callback(memory):
    """However much it says."""
    with transaction.atomic():
        for number in range(50):
            cio.track("42", f"step_{number}")
        assert len(connection.run_on_commit) == 1


def test_one_who_commits_by_hand_writes_at_once(memory):
    """Django is not told of such a commit, so the row shares the transaction itself."""
    Reader.objects.count()
    connection.set_autocommit(False)
    try:
        cio.track("42", "lost")
        assert written() == ["lost"]
        connection.rollback()
        cio.track("42", "kept")
        assert buffer.flush() == 0
        connection.commit()
    finally:
        connection.set_autocommit(True)
    assert written() == ["kept"]


def test_it_does_not_connect(memory):
    """A call that only waits in memory needs no connection."""
    cio.track("42", "a")
    connection.close()
    cio.track("42", "b")
    assert connection.connection is None
    buffer.flush()
    assert written() == ["a", "b"]


def test_flush_inside_a_transaction_leaves_it_to_the_thread(memory):
    """What is already committed must not be rolled back with it."""
    cio.track("42", "a")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        buffer.flush()
        raise ZeroDivisionError
    assert until(lambda: written() == ["a"])


# Order


def test_others_are_not_held_up(memory):
    """A delete of somebody of whom nothing waits goes with the transaction."""
    cio.track("42", "a")
    with transaction.atomic():
        cio.track("42", "b")
        cio.delete("43")
        assert written() == ["delete"]
        cio.erase("43")
    assert written() == ["suppress"]


def test_a_delete_is_behind_what_waits(memory):
    """In autocommit both are written before the call returns."""
    cio.track("42", "a")
    cio.delete("42")
    cio.track("42", "b")
    assert written() == ["a", "delete"]
    buffer.flush()
    assert written() == ["a", "delete", "b"]


@pytest.mark.parametrize("where", ["before", "inside"])
def test_a_delete_in_a_transaction_is_behind_what_waits(memory, where):
    """The commit writes both, whether it waited before or was said in the transaction."""
    if where == "before":
        cio.track("42", "a")
    with transaction.atomic():
        if where == "inside":
            cio.track("42", "a")
        cio.track("43", "b")
        cio.delete("42")
        cio.track("42", "c")
        assert written() == []
    # The order of others does not matter.
    assert [name for name in written() if name != "b"] == ["a", "delete", "c"]


def test_a_delete_that_is_rolled_back_leaves_what_waits(memory):
    """It shares the fate of its transaction."""
    cio.track("42", "a")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        cio.delete("42")
        raise ZeroDivisionError
    buffer.flush()
    assert written() == ["a"]


def test_a_save_goes_with_its_transaction(memory):
    """Only the event of a new row waits; the next save of that person is behind it."""
    reader = Reader.objects.create(email="a@example.com")
    assert written() == ["state"]
    reader.name = "A"
    reader.save()
    assert written() == ["state", "subscribed", "state"]


def test_a_delete_while_the_database_fails_keeps_its_place(memory, broken):
    """It waits with what it follows."""
    cio.track("42", "a")
    with broken():
        cio.delete("42")
    rest()
    buffer.flush()
    assert written() == ["a", "delete"]


# Erase


def test_erase_forgets_what_waits(memory):
    """Of that person, before and in the transaction; their suppression is written with it."""
    cio.track("42", "a")
    cio.track("43", "b")
    with transaction.atomic():
        cio.track("42", "c")
        cio.erase("42")
        assert written() == ["suppress"]
        cio.track("42", "d")
    buffer.flush()
    assert written() == ["suppress", "b", "d"]


def test_an_erase_that_is_rolled_back_forgets_nothing(memory):
    """It shares the fate of its transaction."""
    cio.track("42", "a")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        cio.erase("42")
        raise ZeroDivisionError
    buffer.flush()
    assert written() == ["a"]


def test_erase_finds_what_was_written_before_its_commit(memory):
    """Then it is removed from the outbox."""
    cio.track("42", "a")
    cio.track("43", "b")
    with transaction.atomic():
        transaction.on_commit(buffer.flush)
        cio.erase("42")
    assert written() == ["suppress", "b"]


def test_an_erase_that_cannot_finish_says_so(memory, caplog):
    """The host's commit stands."""

    def fail():
        buffer.flush()
        drop()

    cio.track("42", "a")
    try:
        with transaction.atomic():
            transaction.on_commit(fail)
            cio.erase("42")
        assert "Say erase() again" in caplog.text
    finally:
        restore()


# Bounds and errors


def test_a_full_buffer_is_written_by_the_caller(memory):
    """No loss on overflow: it is in the outbox when the call returns."""
    memory(MEMORY_SIZE=3, MEMORY_LIMIT=3)
    writer = the_writer()
    with writer._writing:  # the thread has to wait
        for name in "abc":
            cio.track("42", name)
        assert written() == ["a", "b", "c"]
    with transaction.atomic():
        for name in "defgh":
            cio.track("42", name)
    assert written() == list("abcdefgh")


def test_full_while_the_database_fails(memory, broken, caplog):
    """The caller hears of it, with the cure, and what waits is kept."""
    memory(MEMORY_SIZE=2, MEMORY_LIMIT=2)
    writer = the_writer()
    with writer._writing, broken():  # without the thread
        cio.track("hush", "a")
        cio.track("hush", "b")
        with pytest.raises(QueueFull, match=r'raise CUSTOMERIO\["MEMORY_LIMIT"\]') as raised:
            cio.track("hush", "refused")
        with transaction.atomic():
            writer.retry_at = time.monotonic() + 60
            with pytest.raises(QueueFull):
                cio.track("hush", "refused")
            rest()
            # The commit tries, and keeps it.
            cio.track("hush", "c")
        rest()
        with pytest.raises(QueueFull):
            cio.track("hush", "refused")
    assert "hush" not in caplog.text + str(raised.value)
    rest()
    buffer.flush()
    assert written() == ["a", "b", "c"]


def test_there_is_room_again_once_the_database_is_back(memory, broken):
    """The next caller writes what waits, and goes on."""
    memory(MEMORY_SIZE=2, MEMORY_LIMIT=2)
    with the_writer()._writing:  # without the thread
        with broken():
            cio.track("42", "a")
            cio.track("42", "b")
        assert len(the_writer().rows) == 2
        rest()
        cio.track("42", "c")
        assert written() == ["a", "b"]
    buffer.flush()
    assert written() == ["a", "b", "c"]


def test_the_thread_survives_a_failing_database(memory, broken, caplog):
    """It tries again, and nothing is lost."""
    memory(MEMORY_SECONDS=0.01)
    with broken():
        cio.track("hush", "a")
        assert until(lambda: caplog.text.count("the next attempt is in") > 1)
    assert until(lambda: written() == ["a"])
    assert "hush" not in caplog.text


def test_pauses_grow_to_a_bound(memory, broken):
    """A database that is down is not asked all the time."""
    writer = the_writer()
    with broken():
        cio.track("42", "a")
        for _ in range(20):
            assert not writer.write()
        assert 20 < writer.retry_at - time.monotonic() < 40
    assert writer.write()
    assert not writer.is_resting


def test_a_row_that_the_database_refuses_goes_alone(memory, caplog):
    """The others of its statement are written; it would have been the caller's error."""
    writer = the_writer()
    for name in ("a", "hush", "b"):
        cio.track("42", name)
    bad = list(writer.rows[1])
    bad[inserts.COLUMNS.index("name")] = "hush\ud800"
    writer.rows[1] = tuple(bad)
    assert buffer.flush() == 0
    assert written() == ["a", "b"]
    assert "refuses a message of kind 'event'" in caplog.text
    assert "hush" not in caplog.text


def test_a_wrapper_of_the_insert_may_speak(memory):
    """It neither waits for itself nor writes anything twice."""
    said = []

    def wrapper(execute, sql, params, many, context):
        if sql.startswith("INSERT") and not said:
            said.append(1)
            cio.track("42", "of_the_wrapper")
            buffer.flush()
        return execute(sql, params, many, context)

    cio.track("42", "a")
    with connection.execute_wrapper(wrapper):
        buffer.flush()
    buffer.flush()
    assert written() == ["a", "of_the_wrapper"]


def test_without_a_thread_nothing_waits(memory, monkeypatch):
    """A system that has no room for a thread more writes at once."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    cio.track("42", "a")
    cio.track("42", "b")
    assert written() == ["a", "b"]


def test_a_statement_is_no_larger_than_a_database_takes(memory):
    """Many large rows are cut into several statements, and keep their order."""
    names = [f"step_{number}" for number in range(150)]
    memory(MEMORY_SIZE=1_000)
    for name in names:
        cio.track("42", name, {"text": "x" * 20_000})
    with CaptureQueriesContext(connection) as queries:
        buffer.flush()
    assert 6 <= len(queries) <= 10
    assert written() == names


def test_chunks_are_bounded_in_rows_and_bytes(memory):
    """By the fewest parameters, rows or bytes."""

    def cut(sizes):
        rows = [(*([""] * inserts.SIZE), size, *([""] * 6)) for size in sizes]
        assert {len(row) for row in rows} <= {len(inserts.COLUMNS)}
        return [len(chunk) for chunk in inserts.chunks("default", rows)]

    most = (connection.features.max_query_params or 65_535) // len(inserts.COLUMNS)
    most = min(most, inserts.MAX_ROWS)
    assert cut([1] * (2 * most + 1)) == [most, most, 1]
    assert cut([300_000, 300_000, 100_000, 100_000, 1]) == [1, 3, 1]
    assert cut([600_000, 600_000]) == [1, 1]
    assert cut([]) == []


# The end of the process


def test_after_a_fork_it_begins_anew(memory):
    """What waits in the parent is not the child's to write, even where hooks are skipped."""
    cio.track("42", "of_the_parent")
    parent = buffer._process
    parent.pid = -1
    cio.track("42", "of_the_child")
    buffer.flush()
    assert written() == ["of_the_child"]
    [writer] = parent.writers.values()
    writer.close()
    assert written() == ["of_the_child", "of_the_parent"]


def test_at_the_end_nothing_waits(memory):
    """What waited is written, and what is said later is written at once."""
    cio.track("42", "a")
    buffer._end()
    assert written() == ["a"]
    cio.track("42", "b")
    assert written() == ["a", "b"]
    assert not any("buffer" in thread.name for thread in threading.enumerate())


def test_the_end_does_not_wait_for_ever(memory, monkeypatch, caplog):
    """A database that hangs does not keep the process; the log tells how many are lost."""
    monkeypatch.setattr(writer_module, "EXIT_WAIT", 0.05)
    cio.track("42", "a")
    with the_writer()._writing:
        buffer.close()
        assert "1 messages still wait" in caplog.text
    assert until(lambda: written() == ["a"])


def test_closing_while_the_database_fails_tells_of_it(memory, broken, caplog):
    """The next one who speaks brings a thread that tries again."""
    cio.track("42", "a")
    with broken():
        buffer.close()
        assert "1 messages still wait" in caplog.text
    rest()
    memory(MEMORY_SIZE=1)
    cio.track("42", "b")
    assert until(lambda: written() == ["a", "b"])


def test_what_is_added_while_the_thread_ends_is_written(memory, monkeypatch):
    """By the one who closes."""
    join = threading.Thread.join

    def join_late(thread, timeout=None):
        join(thread, timeout)
        cio.track("42", "b")

    cio.track("42", "a")
    monkeypatch.setattr(threading.Thread, "join", join_late)
    buffer.close()
    assert written() == ["a", "b"]


def _end(how: str) -> int:
    with queues.process("tests.buffer_worker", how) as process:
        return process.wait(60)


@pytest.mark.parametrize(
    ("how", "code", "expected"),
    [
        ("exit", 0, ["first", "second"]),
        ("late", 0, ["first", "second", "late"]),
        ("flush", 0, ["first", "second"]),
        ("fork", 0, ["child", "first", "second"]),
        ("multiprocessing", 0, ["child", "first", "second"]),
        ("kill", -9, []),
    ],
)
def test_a_process_ends(memory, how, code, expected):
    """It writes what waits, once, in each child too; only a SIGKILL loses it."""
    assert _end(how) == code
    assert written() == expected


def test_a_child_of_celery_says_goodbye(memory):
    """Its end runs neither atexit nor finalizers, only this signal."""
    signals = pytest.importorskip("celery.signals")
    cio.track("42", "a")
    signals.worker_process_shutdown.send(sender=None, pid=0, exitcode=0)
    assert written() == ["a"]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_worker_of_celery_writes_what_waits(memory, pool, tmp_path):
    """A real one, whose children are stopped while something waits in them."""
    pytest.importorskip("celery")
    broker = queues.BROKERS["redis"]
    if reason := queues.ask(broker):
        pytest.skip(reason)
    from celery import Celery

    from .queue_app import configure

    name, done = queues.new_queue(), tmp_path / "done"
    app = Celery("shop", set_as_current=False)
    configure(app, broker, name)
    command = ["celery", "-A", "tests.buffer_celery", "worker", "-P", pool, "-c", "1", "-Q", name]
    quick = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    try:
        with queues.process(*command, *quick, broker=broker, queue=name) as worker:
            app.send_task("tests.track", ["in_celery", str(done)])
            wait_until(done.exists)
            assert written() == []
            worker.terminate()
            assert worker.wait(60) == 0
    finally:
        queues.remove(broker, name)
        app.close()
    assert written() == ["in_celery"]


def test_logs_are_quiet_when_all_is_well(memory, caplog):
    """Nothing to tell."""
    caplog.set_level(logging.INFO, "django_customerio")
    cio.track("42", "a")
    buffer.close()
    assert caplog.text == ""


def test_a_writer_that_fails_at_the_commit_breaks_nothing(memory, monkeypatch, caplog):
    """The commit stands; Django, which logs it by name, can name what failed."""

    def fail(self, rows, *, at_once=False):
        raise RuntimeError

    monkeypatch.setattr(writer_module.Writer, "add", fail)
    with transaction.atomic():
        cio.track("42", "bought")
        plan = Plan.objects.create(name="pro")
    assert Plan.objects.filter(pk=plan.pk).exists()
    assert "_Pending.commit" in caplog.text
