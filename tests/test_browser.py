"""The shop and the sandbox in a real Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from .processes import Demo, Shopper, wait_until

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
)
PASSWORD = "correct horse 9"


class Browser:
    """A Chromium with a page in it."""

    def __init__(self) -> None:
        webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
        if not CHROMIUM or not CHROMEDRIVER:
            pytest.skip(
                "there is no chromium with a chromedriver here (apt install chromium-driver)"
            )
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for switch in SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(CHROMEDRIVER)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.resize(1200)

    def resize(self, width: int, *, dark: bool = False) -> None:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, url: str) -> None:
        self.driver.get(url)

    def one(self, css: str) -> Any:
        return wait_until(lambda: self.all(css), 15)[0]

    def all(self, css: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", css)
        return found

    def click(self, css: str) -> None:
        self.one(css).click()

    def fill(self, **fields: str) -> None:
        for name, text in fields.items():
            field = self.one(f"[name={name}]")
            field.clear()
            field.send_keys(text)

    @property
    def text(self) -> str:
        text: str = self.driver.execute_script("return document.body.innerText")
        return text

    def see(self, text: str, seconds: float = 15) -> None:
        """Waits until the page shows this."""
        try:
            wait_until(lambda: text in self.text, seconds)
        except AssertionError:
            raise AssertionError(f"{text!r} is not on the page:\n{self.text}") from None

    def complaints(self) -> list[str]:
        """Errors in the console: scripts, styles or a policy that was broken."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in {"SEVERE", "WARNING"}]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture
def second() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.driver.quit()


def test_a_person_is_watched_from_sign_up_to_goodbye(
    demo: Demo, browser: Browser, second: Browser
) -> None:
    """What is clicked in the shop appears in the open page of the sandbox, by itself."""
    second.open(f"{demo.sandbox}/sandbox/activity")
    browser.open(f"{demo.shop}/")
    browser.click(".hero .button")
    browser.fill(first_name="Ann", email="ann@example.com", password1=PASSWORD, password2=PASSWORD)
    browser.click("main form button")
    browser.see("Welcome, Ann!")
    second.see("signed_up")
    second.see("ann@example.com")
    browser.click(".plan:nth-child(3) button")
    browser.see("You are on Collector now")
    second.see("plan: collector · amount: 29")
    browser.fill(first_name="Annie")
    browser.click("main form button")
    browser.see("Hello, Annie")
    second.see("first_name: Annie")
    browser.driver.find_element("link text", "Cancel plan").click()
    browser.click("input[value=other]")
    browser.click("button.danger")
    browser.see("Your plan is cancelled")
    second.see("subscription_cancelled")
    browser.driver.find_element("link text", "Delete my account").click()
    browser.fill(password=PASSWORD)
    browser.click("button.danger")
    browser.see("Your account is deleted")
    second.see("delete")
    second.click(".entry .whom")
    second.see("Timeline")
    names = [
        entry.find_element("css selector", ".head").text.split("\n")[0]
        for entry in reversed(second.all(".entry"))
    ]
    assert names[0].startswith("identify")
    assert names[-1].startswith("delete")
    assert second.one(".person-head .chip").text == "deleted"
    for each in (browser, second):
        assert each.complaints() == []


def test_payloads_open_and_stay_open(demo: Demo, browser: Browser) -> None:
    """A payload that is being read stays open, and in focus, while new entries arrive."""
    Shopper(demo.shop).sign_up("bo@example.com")
    demo.arrived("signed_up")
    browser.open(f"{demo.sandbox}/sandbox/activity")
    browser.click(".entry summary")
    opened = browser.one("details[open]").get_attribute("id")
    assert '"type": "person"' in browser.text
    Shopper(demo.shop).sign_up("cat@example.com")
    browser.see("cat@example.com")
    assert browser.one("details[open]").get_attribute("id") == opened
    focused = browser.driver.switch_to.active_element
    assert focused.find_element("xpath", "..").get_attribute("id") == opened


def test_recovery_is_watched(demo: Demo, browser: Browser) -> None:
    """A fault is switched on and off on its page; the shop works, and all arrives later."""
    browser.open(f"{demo.sandbox}/sandbox/faults")
    browser.one("option[value='503']").click()
    browser.click("main form button")
    browser.see("Answering with 503")
    started = time.monotonic()
    Shopper(demo.shop).sign_up("dan@example.com")
    assert time.monotonic() - started < 5
    demo.arrived("POST /api/v2/batch")
    browser.click("button.second")
    browser.see("Answering as usual")
    browser.open(f"{demo.sandbox}/")
    browser.see("dan@example.com", 90)
    assert browser.complaints() == []


def test_without_script(demo: Demo, browser: Browser) -> None:
    """The sandbox can be read and searched with scripts switched off."""
    Shopper(demo.shop).sign_up("eve@example.com")
    wait_until(lambda: "eve@example.com" in requests.get(f"{demo.sandbox}/", timeout=5).text)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(f"{demo.sandbox}/")
    browser.fill(q="eve@")
    browser.click(".search button")
    # The page before may show one person, too.
    wait_until(lambda: "q=eve" in browser.driver.current_url)
    wait_until(lambda: len(browser.all(".people li")) == 1)
    row = browser.one(".people li")
    assert "eve@example.com" in row.text
    row.find_element("css selector", "a").click()
    assert "UTC" in browser.one(".entry .when").text


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("dark", [False, True])
def test_pages_fit_and_follow_the_scheme(
    demo: Demo, browser: Browser, width: int, dark: bool
) -> None:
    """No page is wider than the window; each is dark where that is asked for."""
    email = f"fay-{width}-{dark}@a-domain-whose-name-is-rather-long-to-look-at.example"
    Shopper(demo.shop).sign_up(email)
    wait_until(lambda: email.lower() in requests.get(f"{demo.sandbox}/", timeout=5).text)
    browser.resize(width, dark=dark)
    browser.open(f"{demo.shop}/log-in/?next=/account/")
    browser.fill(username=email, password=PASSWORD)
    browser.click("main form button")
    browser.see("Hello, Ann")
    browser.open(f"{demo.sandbox}/")
    person = browser.one(".people a").get_attribute("href")
    for url in (
        *(demo.shop + path for path in ("/", "/plans/", "/account/", "/account/delete/")),
        *(demo.sandbox + path for path in ("/", "/?gone=1", "/?q=nobody", "/sandbox/activity")),
        *(demo.sandbox + path for path in ("/sandbox/refused", "/sandbox/faults")),
        person,
    ):
        browser.open(url)
        for details in browser.all("details"):
            browser.driver.execute_script("arguments[0].open = true", details)
        wide = browser.driver.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, url
        colour = browser.driver.execute_script(
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        assert (sum(colour[:3]) < 200) is dark, url
        unlabelled = browser.driver.execute_script(
            "return [...document.querySelectorAll('input:not([type=hidden]), select')]"
            ".filter(field => !field.labels.length).length"
        )
        assert unlabelled == 0, url
        assert len(browser.all("h1")) == 1, url
    assert browser.complaints() == []


def test_the_sandbox_can_be_emptied(demo: Demo, browser: Browser) -> None:
    """Starting afresh takes two clicks, and leaves the address to point a site at."""
    browser.open(f"{demo.sandbox}/sandbox/faults")
    browser.click(".danger summary")
    browser.click(".danger button")
    browser.see("Nobody yet.")
    assert demo.sandbox in browser.text
