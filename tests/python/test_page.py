"""The sandbox's page, in a real browser."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from intilery import Client, ConfigurationError
from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / "build" / "screens"  # to be looked at
HOSTILE = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium is not None, "these tests need Chromium (packaging/system-packages installs it)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if "Content Security" in message.text else None)
    yield page
    page.close()
    assert troubles == []


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with sandbox.client(delivery_timeout=20) as client:
        yield client


def show(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#level")).not_to_have_text("0")  # the sandbox has answered


def screenshot(page: Page, name: str) -> None:
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png")


def get(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def post(url: str, body: object, **headers: str) -> int:
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(url, json.dumps(body).encode(), named)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_events_arrive_live_the_newest_first_and_can_be_filtered(page: Page, sandbox: Sandbox, client: Client) -> None:
    show(page, sandbox.url)
    expect(page.get_by_text("Nothing has arrived yet")).to_be_visible()
    client.track("fred", "Login", message_id="m-1").result(timeout=10)
    client.track("anna", "Order Completed", {"revenue": 30.5}).result(timeout=10)
    rows = page.locator("#calls tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("anna")
    expect(page.locator("#events")).to_have_text("2")

    page.keyboard.press("/")
    page.keyboard.type("fred")
    expect(rows).to_have_count(1)
    page.fill("#filter-user", "")
    page.fill("#filter-event", "Order")
    expect(rows).to_have_count(1)
    page.select_option("#filter-status", "refused")
    expect(rows).to_have_count(0)
    expect(page.get_by_text("Nothing matches")).to_be_visible()

    page.fill("#filter-event", "")
    page.select_option("#filter-status", "accepted")
    expect(rows).to_have_count(2)
    page.locator("#filter-event").blur()
    page.keyboard.press("j")  # the first, and the second
    page.keyboard.press("j")
    detail = page.get_by_label("Call", exact=True)
    expect(detail).to_contain_text('"messageId": "m-1"')
    expect(detail).to_contain_text("auth-token: [redacted]")
    expect(detail).to_contain_text('"success": true')
    page.keyboard.press("Escape")
    expect(detail).to_have_count(0)


def test_a_violation_is_shown_at_its_place(page: Page, sandbox: Sandbox) -> None:
    good = {"userId": "u", "event": "E", "timestamp": "2026-11-24T10:00:00.000Z"}
    bad = {**good, "event": "identify", "traits": {"marketingPreferences": {"channels": [{"channel": "fax"}]}}}
    url = sandbox.url + "/track/hea/hea/HEA/v1/"
    assert post(url + "batch", {"batch": [good, bad, good]}, auth_token="sandbox-token") == 400
    show(page, sandbox.url)
    rows = page.locator("#calls tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("refused with its batch")
    rows.nth(1).click()
    detail = page.get_by_label("Call", exact=True)
    expect(detail.get_by_role("alert")).to_contain_text(
        "traits.marketingPreferences.channels[0].channel must be one of"
    )
    expect(detail.locator(".mark")).to_have_text('"channel": "fax"')
    screenshot(page, "violation")
    page.get_by_role("button", name="The whole request").click()
    expect(detail.locator(".mark")).to_have_text('"channel": "fax"')
    expect(detail).to_contain_text('"batch": [')


def test_events_that_break_the_plan_are_shown(page: Page, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "version: 1\nevents:\n  Order Completed:\n    properties:\n      type: object\n"
        "      properties:\n        revenue: {type: number, minimum: 0}\n"
    )
    with Sandbox(plan=plan) as sandbox, sandbox.client(delivery="batch") as client:
        client.track("u", "Order Completed", {"revenue": 30.5})
        client.track("u", "Order Completed", {"revenue": -1})
        client.track("u", "Odrer Completed")
        client.flush(timeout=10)
        show(page, sandbox.url)
        rows = page.locator("#calls tbody tr")
        expect(rows).to_have_count(3)
        page.select_option("#filter-status", "plan")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("not in the plan")
        rows.nth(1).click()
        expect(page.get_by_label("Call", exact=True).locator(".mark")).to_have_text('"revenue": -1')
        screenshot(page, "plan")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Sandbox(plan=tmp_path / "missing.yaml")


def test_profiles_have_their_traits_and_a_timeline(page: Page, sandbox: Sandbox, client: Client) -> None:
    client.identify("ABC/123 ä", {"email": "fred@example.com"})
    client.track("ABC/123 ä", "Login")
    client.track("another", "Login")
    client.flush(timeout=10)
    show(page, sandbox.url)
    page.keyboard.press("2")
    expect(page.get_by_text("2 profiles")).to_be_visible()
    page.fill("#filter-user", "ABC")
    expect(page.get_by_text("1 profiles")).to_be_visible()
    page.get_by_role("cell", name="ABC/123 ä").click()
    profile = page.get_by_label("Profile", exact=True)
    expect(profile).to_contain_text('"email": "fred@example.com"')
    expect(profile.locator(".timeline li")).to_have_count(2)
    page.locator("#filter-user").blur()
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    screenshot(page, "profile-dark")


def test_faults_are_switched_on_and_off(page: Page, sandbox: Sandbox, client: Client) -> None:
    show(page, sandbox.url)
    page.keyboard.press("3")
    page.locator("input[type=range]").fill("100")
    page.check("#fault-unavailable")
    expect(page.get_by_text('"status": 503')).to_be_visible()
    delivery = client.track("u", "E")
    page.keyboard.press("1")
    expect(page.locator("#calls tbody tr").first).to_contain_text("503")
    assert not delivery.done()
    show(page, sandbox.url)
    page.keyboard.press("3")
    expect(page.locator("#fault-unavailable")).to_be_checked()
    screenshot(page, "faults")
    page.uncheck("#fault-unavailable")
    expect(page.get_by_text("none", exact=True)).to_be_visible()
    assert delivery.result(timeout=40).status == 200

    page.check("#fault-lostAck")
    assert client.track("u", "Lost", message_id="m-2")
    page.keyboard.press("1")
    expect(page.locator("#calls tbody tr").first).to_contain_text("no answer")
    page.keyboard.press("3")
    page.uncheck("#fault-lostAck")
    page.check("#fault-offline")
    page.uncheck("#fault-offline")
    assert client.flush(timeout=40).remaining == 0


def test_a_hostile_event_is_shown_as_text(page: Page, sandbox: Sandbox, client: Client) -> None:
    client.identify(HOSTILE, {"name": HOSTILE, HOSTILE: {"__proto__": HOSTILE}})
    client.track(HOSTILE, HOSTILE, {"a": HOSTILE, "escape": "\x1b]0;x\x07\u202e"})
    client.flush(timeout=10)
    show(page, sandbox.url)
    row = page.locator("#calls tbody tr").first
    expect(row).to_contain_text("onerror")
    row.click()
    expect(page.get_by_label("Call", exact=True)).to_contain_text("<script>")
    screenshot(page, "hostile")
    page.get_by_label("Call", exact=True).locator(".link").first.click()
    expect(page.get_by_label("Profile", exact=True)).to_contain_text("onerror")
    assert page.title() == "Intilery sandbox"
    assert page.locator("img").count() == 0


def test_ten_thousand_events_a_second_do_not_freeze_it(page: Page) -> None:
    with Sandbox(rate_limit=0, max_stored_bytes=50_000_000) as sandbox, sandbox.client(delivery="batch") as client:
        show(page, sandbox.url)
        stop = threading.Event()
        sent = 0

        def send() -> None:
            nonlocal sent
            begun = time.monotonic()
            while not stop.is_set():
                for _ in range(500):
                    client.track(f"user-{sent % 1000}", "Viewed", {"n": sent})
                    sent += 1
                stop.wait(max(0.0, begun + sent / 10_000 - time.monotonic()))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            expect(page.locator("#sampled")).to_contain_text("a sample", timeout=20_000)
            page.evaluate(
                "() => { window.worst = 0; let last = performance.now();"
                " const step = (now) => { window.worst = Math.max(window.worst, now - last); last = now;"
                " requestAnimationFrame(step) }; requestAnimationFrame(step) }"
            )
            page.fill("#filter-user", "user-77")
            expect(page.locator("#calls tbody tr").first).to_contain_text("user-77")
            page.keyboard.press("Tab")
            page.locator("#filter-user").fill("")
            page.locator("#calls tbody tr").first.click()
            expect(page.get_by_label("Call", exact=True)).to_contain_text('"event": "Viewed"')
            screenshot(page, "ten-thousand")
            worst = page.evaluate("window.worst")
        finally:
            stop.set()
            sender.join()
        client.flush(timeout=30)
        expect(page.locator("#events")).to_have_text(f"{sent:,}", timeout=20_000)
        assert worst < 2_000, "milliseconds without a frame"


def test_a_foreign_page_gets_nothing(sandbox: Sandbox) -> None:
    live = sandbox.url + "/sandbox/live"
    host = f"127.0.0.1:{sandbox.port}"
    assert get(live)[0] == 200
    assert get(live, host=f"localhost:{sandbox.port}")[0] == 200
    assert get(live, host=f"evil.example:{sandbox.port}")[0] == 421  # a name that was made to point here
    assert get(sandbox.url, host=f"127.evil.example:{sandbox.port}")[0] == 421
    assert get(live, origin="http://evil.example")[0] == 403
    assert get(live, sec_fetch_site="cross-site")[0] == 403
    assert post(sandbox.url + "/sandbox/faults", [], origin=f"http://{host}") == 200
    assert post(sandbox.url + "/sandbox/faults", [], origin="http://evil.example") == 403
    assert post(sandbox.url + "/sandbox/clear", {}, content_type="text/plain") == 415
    assert post(sandbox.url + "/sandbox/faults", [{"status": "x"}]) == 400
    with urllib.request.urlopen(sandbox.url, timeout=5) as answer:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_off_loopback_it_wants_a_token(page: Page) -> None:
    with pytest.raises(ValueError, match="give the sandbox a token of your own"):
        Sandbox(host="0.0.0.0")
    with Sandbox(host="0.0.0.0", token="a-secret") as sandbox:
        url = f"http://127.0.0.1:{sandbox.port}"
        assert get(url + "/sandbox/live")[0] == 403
        assert get(url + "/sandbox/live", auth_token="a-secret")[0] == 200
        page.goto(url)
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Token")).to_be_visible()
        page.get_by_label("Token").fill("a-secret")
        page.keyboard.press("Enter")
        expect(page.locator("#events")).to_have_text("0")


def test_what_arrived_is_kept_in_the_store(tmp_path: Path, page: Page) -> None:
    store = str(tmp_path / "sandbox.db")
    with Sandbox(store=store) as sandbox, sandbox.client() as client:
        client.identify("u", {"plan": "gold"})
        client.track("u", "Login", message_id="m-1")
        client.flush(timeout=10)
        before = sandbox.events()
    with Sandbox(store=store) as sandbox, sandbox.client() as client:
        assert sandbox.events() == before
        assert client.verify(["m-1"], user_id="u", timeout=5).found == 1
        show(page, sandbox.url)
        page.keyboard.press("2")
        page.get_by_role("cell", name="u", exact=True).click()
        expect(page.get_by_label("Profile", exact=True)).to_contain_text('"plan": "gold"')
        sandbox.clear()
    with Sandbox(store=store) as sandbox:
        assert sandbox.events() == []
    with pytest.raises(RuntimeError, match="cannot be used"):
        Sandbox(store=str(tmp_path / "missing" / "sandbox.db"))
