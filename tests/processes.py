"""The sandbox and the example shop as processes of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "example_project"
SITE_ID, API_KEY = "demo-site", "demo-key"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """This process's, without what chooses the suite's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CUSTOMERIO")}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    return {**kept, "PYTHONPATH": path, **more}


def wait_until(done: Any, seconds: float = 30) -> Any:
    """What *done* returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := done():
            return found
        time.sleep(0.05)
    raise AssertionError("It did not happen in time.")


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@contextmanager
def sandbox(database: Path, port: int | None = None) -> Iterator[str]:
    """A sandbox that serves; yields its address."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "django_customerio.sandbox", str(port)),
            *("--database", str(database), "--site-id", SITE_ID, "--api-key", API_KEY),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: answers(f"{url}/sandbox/activity.json"))
        yield url
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said == f"Customer.io sandbox at {url}/\n"


def manage(*arguments: str, env: dict[str, str], check: bool = True) -> Any:
    """A finished command of the example."""
    result = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=EXAMPLE,
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not check or result.returncode == 0, result.stderr
    return result


class Demo:
    """`manage.py demo`, running.

    Args:
        folder: Where its two databases go.
    """

    def __init__(self, folder: Path) -> None:
        self.port, self.sandbox_port = free_port(), free_port()
        self.shop = f"http://127.0.0.1:{self.port}"
        self.sandbox = f"http://127.0.0.1:{self.sandbox_port}"
        self.env = environment(DATABASE_URL=f"sqlite:///{folder / 'shop.sqlite3'}")
        self.said = folder / "said.txt"
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "manage.py", "demo", "--port", str(self.port)),
                    *("--sandbox-port", str(self.sandbox_port)),
                    *("--sandbox-database", str(folder / "sandbox.sqlite3")),
                ],
                cwd=EXAMPLE,
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(
            lambda: "Ctrl-C" in self.said.read_text() or self.process.poll() is not None, 60
        )
        assert self.process.poll() is None, self.said.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stops it like a person or a supervisor; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=40)

    def activity(self) -> list[dict[str, Any]]:
        """What has arrived in the sandbox, in order."""
        items: list[dict[str, Any]] = requests.get(
            f"{self.sandbox}/sandbox/activity.json", timeout=5
        ).json()["items"]
        return items

    def arrived(self, *names: str, seconds: float = 30) -> list[dict[str, Any]]:
        """Waits until events or kinds of these names arrived; returns everything."""

        def all_there() -> list[dict[str, Any]] | None:
            items = self.activity()
            there = {item["name"] or item["kind"] for item in items}
            return items if set(names) <= there else None

        found: list[dict[str, Any]] = wait_until(all_there, seconds)
        return found

    def fault(self, name: str) -> None:
        """Lets the sandbox fail from now on, or stops that ("")."""
        session = requests.Session()
        session.get(f"{self.sandbox}/sandbox/faults", timeout=5)
        token = session.cookies["sandbox_csrftoken"]
        form = {"csrfmiddlewaretoken": token, "fault": name}
        session.post(f"{self.sandbox}/sandbox/faults", form, timeout=5).raise_for_status()


class Shopper:
    """A person with a browser, as far as the shop can tell."""

    def __init__(self, shop: str) -> None:
        self.shop = shop
        self.session = requests.Session()

    def get(self, path: str) -> str:
        answer = self.session.get(self.shop + path, timeout=20)
        answer.raise_for_status()
        return answer.text

    def post(self, path: str, **form: str) -> str:
        if "shop_csrftoken" not in self.session.cookies:
            self.get("/sign-up/")
        form["csrfmiddlewaretoken"] = self.session.cookies["shop_csrftoken"]
        answer = self.session.post(self.shop + path, form, timeout=20)
        answer.raise_for_status()
        return answer.text

    def sign_up(self, email: str) -> str:
        password = "correct horse 9"
        return self.post(
            "/sign-up/", first_name="Ann", email=email, password1=password, password2=password
        )
