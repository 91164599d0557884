"""The example shop: its commands, and a visit from sign-up to goodbye."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from . import processes
from .processes import EXAMPLE, Demo, Shopper, environment, free_port, manage, sandbox

LINES = """\
 00004 0001 19970101  2   29.33
 00004 0001 19970118  2   29.73
 00021 0002 19970101  3   63.34

 00021 0002 19971213  1   11.77
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """Address of an empty database for the shop, on the server the suite runs on."""
    match os.environ.get("CIO_TEST_DB", "sqlite"):
        case "postgres":
            import psycopg

            name = f"cio_example{os.environ.get('CIO_TEST_SUFFIX', '')}_{os.getpid()}".lower()
            user = os.environ.get("CIO_PG_USER", "postgres")
            password = os.environ.get("CIO_PG_PASSWORD", "")
            host = os.environ.get("CIO_PG_HOST", "127.0.0.1")
            main = os.environ.get("CIO_PG_DATABASE", "postgres")
            with psycopg.connect(
                host=host, user=user, password=password, dbname=main, autocommit=True
            ) as server:
                server.execute(f"CREATE DATABASE {name}")
                yield f"postgres://{user}:{password}@{host}/{name}"
                server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        case "sqlite":
            yield f"sqlite:///{tmp_path / 'shop.sqlite3'}"
        case other:
            pytest.skip(f"the example runs on SQLite and PostgreSQL, not on {other}")


@pytest.fixture
def env(database: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of a migrated shop whose Customer.io is a sandbox."""
    with sandbox(tmp_path / "sandbox.sqlite3") as url:
        env = environment(
            DATABASE_URL=database, CUSTOMERIO_TRACK_URL=url, CUSTOMERIO_SENDER="command"
        )
        manage("migrate", "-v0", env=env)
        yield env


def exported(env: dict[str, str]) -> Any:
    return requests.get(f"{env['CUSTOMERIO_TRACK_URL']}/sandbox/export.json", timeout=60).json()


def query(env: dict[str, str], expression: str) -> Any:
    code = (
        "import json\nfrom django.db.models import Sum\nfrom shop.models import *\n"
        f"print(json.dumps({expression}, default=str))"
    )
    return json.loads(manage("shell", "--no-imports", "-c", code, env=env).stdout)


def test_the_project_is_in_order(env: dict[str, str]) -> None:
    """No check complains, and the migrations fit the models."""
    assert manage("check", "--fail-level", "WARNING", env=env).returncode == 0
    assert manage("makemigrations", "--check", "--dry-run", env=env).returncode == 0


def test_history_becomes_customers_and_events(env: dict[str, str], tmp_path: Path) -> None:
    """Each line is an order and an event with its own date; a second run adds nothing."""
    path = tmp_path / "history.txt"
    path.write_text(LINES)
    assert manage("import_orders", str(path), env=env).stdout.endswith(
        "4 orders imported, 0 were there already.\n"
    )
    path.write_text(LINES + " 00021 0002 19980101  1   10.00\n")
    assert manage("import_orders", str(path), env=env).stdout.endswith(
        "1 orders imported, 4 were there already.\n"
    )
    manage("flush_customerio", env=env)
    told = exported(env)
    people = {p["attributes"]["email"]: p["attributes"] for p in told["people"]}
    first = people["customer-0001@example.com"]
    assert (first["lifetime_value"], first["created_at"]) == (59.06, 852_076_800)
    assert people["customer-0002@example.com"]["lifetime_value"] == 85.11
    purchased = [event for event in told["events"] if event["name"] == "purchased"]
    assert sorted(
        (e["timestamp"], e["data"]["quantity"], e["data"]["amount"]) for e in purchased
    ) == [
        (852_076_800, 2, 29.33),
        (852_076_800, 3, 63.34),
        (853_545_600, 2, 29.73),
        (881_971_200, 1, 11.77),
        (883_612_800, 1, 10.0),
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("00004 0001 19970101 2", "4 columns, not 5"),
        ("00004 000x 19970101 2 29.33", "the customer is no number"),
        ("00004 0001 19971301 2 29.33", "the date is not YYYYMMDD"),
        ("00004 0001 1997011 2 29.33", "the date is not YYYYMMDD"),
        ("00004 0001 19970101 0 29.33", "the number of CDs"),
        ("00004 0001 19970101 2.5 29.33", "the number of CDs"),
        ("00004 0001 19970101 2 29.333", "the dollars"),
        ("00004 0001 19970101 2 -1", "the dollars"),
        ("00004 0001 19970101 2 NaN", "the dollars"),
        ("00004 0001 19970101 2 dear", "the dollars"),
    ],
)
def test_a_malformed_line_is_named(monkeypatch: pytest.MonkeyPatch, line: str, text: str) -> None:
    """The error tells the number of the line and what is wrong with it."""
    monkeypatch.syspath_prepend(EXAMPLE)
    from shop.purchases import MalformedLineError, read  # type: ignore[import-not-found]

    with pytest.raises(MalformedLineError, match=f"^Line 2: .*{text}"):
        list(read(["00004 0001 19970101 2 29.33\n", line]))


def test_a_bad_file_imports_nothing(env: dict[str, str], tmp_path: Path) -> None:
    """A file is read to its end before the first order is taken."""
    path = tmp_path / "history.txt"
    path.write_text(LINES + "nonsense\n")
    result = manage("import_orders", str(path), env=env, check=False)
    assert result.returncode == 1
    assert "Line 6: there are 1 columns, not 5" in result.stderr
    assert "Traceback" not in result.stderr
    path.write_bytes(b"\xff\xfe")
    assert "not plain text" in manage("import_orders", str(path), env=env, check=False).stderr
    missing = manage("import_orders", str(tmp_path / "none"), env=env, check=False)
    assert "cannot be read" in missing.stderr
    assert query(env, "Order.objects.count()") == 0


@pytest.mark.slow
def test_nothing_is_lost_to_sudden_deaths(env: dict[str, str], tmp_path: Path) -> None:
    """Importer and worker are killed on the way; in the end the sums agree to the cent."""
    chance = random.Random(7)
    lines, spent = [], defaultdict(Decimal)
    for number in range(900):
        customer = number % 60 + 1
        amount = Decimal(chance.randrange(100, 20_000)) / 100
        spent[f"customer-{customer:04d}@example.com"] += amount
        day = f"1997{number // 75 + 1:02d}{number % 28 + 1:02d}"
        lines.append(f"{customer:05d} {customer:04d} {day} {number % 5 + 1} {amount}\n")
    path = tmp_path / "history.txt"
    path.write_text("".join(lines))

    def killed(*arguments: str, after: float) -> None:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=EXAMPLE,
            env=env,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(after)
        process.kill()
        process.wait()

    killed("import_orders", str(path), after=1.6)
    manage("import_orders", str(path), env=env)
    assert query(env, "Order.objects.count()") == 900
    for _ in range(2):
        killed("flush_customerio", after=1.0)
    for _ in range(30):
        manage("flush_customerio", env=env, check=False)
        status = json.loads(manage("customerio_status", "--json", env=env, check=False).stdout)
        if '"pending": 0' in json.dumps(status):
            break
        time.sleep(2)
    told = exported(env)
    purchased = [event for event in told["events"] if event["name"] == "purchased"]
    assert len(purchased) == len({event["id"] for event in purchased}) == 900
    assert {
        person["email"]: Decimal(str(person["attributes"]["lifetime_value"]))
        for person in told["people"]
    } == spent
    got: dict[str, Decimal] = defaultdict(Decimal)
    for event in purchased:
        got[event["person"]] += Decimal(str(event["data"]["amount"]))
    assert sorted(got.values()) == sorted(spent.values())


# The demo


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    yield running
    assert running.stop() == 0, running.said.read_text()


@pytest.mark.slow
def test_a_visit(demo: Demo) -> None:
    """Sign-up, plan, profile, cancelling, deleting: all of it arrives, in order."""
    ann = Shopper(demo.shop)
    assert "There is nothing on sale" not in ann.get("/")
    assert "Enter a valid email address." in ann.post("/sign-up/", email="nobody")
    assert "Welcome, Ann!" in ann.sign_up("Ann@Example.com")
    assert "You are on Duo now" in ann.post("/plans/duo/buy/")
    assert "You are on Duo already" in ann.post("/plans/duo/buy/")
    saved = ann.post("/account/", first_name="Annie", email="ann@example.com", unsubscribed="on")
    assert "Hello, Annie" in saved
    demo.arrived("subscription_started")
    assert "This field is required." in ann.post("/account/cancel/")
    assert "Your plan is cancelled" in ann.post("/account/cancel/", reason="price")
    assert "no plan to cancel" in ann.get("/account/cancel/")
    assert "There is an account with this address" in Shopper(demo.shop).sign_up("ann@example.com")
    demo.arrived("subscription_cancelled")
    people = requests.get(f"{demo.sandbox}/sandbox/export.json", timeout=5).json()["people"]
    known = people[0]["attributes"]
    assert (known["first_name"], known["lifetime_value"]) == ("Annie", 14)
    assert known["unsubscribed"] is True
    assert "plan" not in known
    assert "This is not your password" in ann.post("/account/delete/", password="wrong")
    assert "Goodbye" in ann.post("/account/delete/", password="correct horse 9")
    arrived = demo.arrived("delete")
    assert [item["name"] for item in arrived if item["kind"] == "event"] == [
        "signed_up",
        "logged_in",
        "subscription_started",
        "subscription_cancelled",
    ]
    assert [arrived[0]["kind"], arrived[-1]["kind"]] == ["identify", "delete"]
    assert {item["outcome"] for item in arrived} == {"applied"}
    assert {item["who"] for item in arrived} == {arrived[0]["who"]}


@pytest.mark.slow
def test_staff_are_nobody_over_there(demo: Demo) -> None:
    """The staff account logs in to the admin, sees the outbox, and is told to nobody."""
    staff = Shopper(demo.shop)
    assert demo.said.read_text().count("demo-password") == 1
    staff.post("/log-in/", username="staff@example.com", password="demo-password")
    assert "Site administration" in staff.get("/admin/")
    assert staff.get("/admin/django_customerio/outboxmessage/")
    Shopper(demo.shop).sign_up("bo@example.com")
    arrived = demo.arrived("signed_up")
    assert len({item["person"] for item in arrived}) == 1


@pytest.mark.slow
def test_an_outage_is_survived(demo: Demo) -> None:
    """While the sandbox fails no page waits; afterwards all arrives, in order."""
    demo.fault("503")
    cat = Shopper(demo.shop)
    started = time.monotonic()
    cat.sign_up("cat@example.com")
    cat.post("/plans/solo/buy/")
    cat.post("/account/cancel/", reason="unused")
    assert time.monotonic() - started < 5
    demo.arrived("POST /api/v2/batch")
    demo.fault("")
    arrived = demo.arrived("subscription_cancelled", seconds=90)
    events = [item["name"] for item in arrived if item["kind"] == "event"]
    assert events == ["signed_up", "logged_in", "subscription_started", "subscription_cancelled"]
    assert {item["outcome"] for item in arrived} == {"applied", "fault"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_servers_stop(tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM stop shop and sandbox, and leave both ports free."""
    demo = Demo(tmp_path)
    assert demo.stop(number) == 0
    for port in (demo.port, demo.sandbox_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_a_port_in_use(tmp_path: Path, option: str) -> None:
    """The demo names the port and the option, before it does anything."""
    env = environment(DATABASE_URL=f"sqlite:///{tmp_path / 'shop.sqlite3'}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"--port": free_port(), "--sandbox-port": free_port(), option: port}
        arguments = [str(part) for pair in ports.items() for part in pair]
        result = manage("demo", *arguments, env=env, check=False)
    assert result.returncode == 1
    assert (
        f"Port {port} is in use or not allowed. Choose another one with {option}." in result.stderr
    )
    assert not (tmp_path / "shop.sqlite3").exists()


def test_one_port_for_both(tmp_path: Path) -> None:
    """Shop and sandbox cannot share a port."""
    env = environment(DATABASE_URL=f"sqlite:///{tmp_path / 'shop.sqlite3'}")
    result = manage("demo", "--port", "8123", "--sandbox-port", "8123", env=env, check=False)
    assert "two different ports" in result.stderr


# The sandbox as a process


def test_the_sandbox_serves_alone(tmp_path: Path) -> None:
    """It migrates its file, serves pages, styles and the API, and keeps what it got."""
    path = tmp_path / "sandbox.sqlite3"
    event = {"type": "person", "action": "event", "identifiers": {"id": "1"}, "name": "x"}
    with sandbox(path) as url:
        assert requests.get(f"{url}/static/customerio_sandbox/sandbox.css", timeout=5).ok
        keys = (processes.SITE_ID, processes.API_KEY)
        assert requests.post(f"{url}/api/v2/entity", json=event, auth=keys, timeout=5).ok
        assert requests.post(f"{url}/api/v2/entity", json=event, timeout=5).status_code == 401
    with sandbox(path) as url:
        assert len(requests.get(f"{url}/sandbox/export.json", timeout=5).json()["events"]) == 1


@pytest.mark.parametrize(
    ("address", "code", "text"),
    [
        ("{taken}", 1, "is in use; name another one"),
        ("192.0.2.1:8001", 1, "is not to be had; name another one"),
        ("somewhere", 2, "the port must be a number"),
    ],
)
def test_the_sandbox_cannot_serve(tmp_path: Path, address: str, code: int, text: str) -> None:
    """A taken port and a wrong address end with a sentence and an exit code."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = subprocess.run(
            [
                *(sys.executable, "-m", "django_customerio.sandbox"),
                address.format(taken=taken.getsockname()[1]),
                *("--database", str(tmp_path / "sandbox.sqlite3")),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (result.returncode, text in result.stderr) == (code, True)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["nowhere/x.sqlite3", "notes.txt"])
def test_the_sandbox_has_no_database(tmp_path: Path, name: str) -> None:
    """A file that cannot be made or is none of SQLite's ends with a sentence, and code 2."""
    (tmp_path / "notes.txt").write_text("Not a database. " * 100)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "django_customerio.sandbox", f"127.0.0.1:{free_port()}"),
            *("--database", str(tmp_path / name)),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert f"{name} cannot be used (" in result.stderr
    assert "name another file by --database." in result.stderr
    assert "Traceback" not in result.stderr
