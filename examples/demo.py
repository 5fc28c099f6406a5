"""The main job: real purchases go from Python, Node and C++ through one core into the sandbox, and are read back.

    make demo

Python sends every customer and every purchase of CDNOW. Meanwhile a Node backend is called 1,000 times, and a C++
program reports 1,000 stock checks, all into one account of 100 requests a second. Then the read API must show all of
it.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
import urllib.parse
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import cdnow
import read_back
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from intilery import Client

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = {"CLIENT_ID": "hea", "ACCOUNT_ID": "hea", "BRAND_ID": "HEA", "AUTH_TOKEN": "demo-token"}
PATH = "/track/hea/hea/HEA/v1"

# The account's rate and burst (100, 500), shared out by hand; what is left is for calls that catch up with each other.
PYTHON = {"rate_limit": 60, "burst": 380}
OTHERS = {"INTILERY_RATE_LIMIT": "15", "INTILERY_BURST": "50"}
OTHER_EVENTS = 1_000


class Pace(ProgressColumn):
    """Events a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


def start(stack: ExitStack, *command: str, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, cwd=ROOT / "examples", env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )

    def stop() -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    stack.callback(stop)
    return process


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit(f"{process.args!r} did not start")
    return line


def send(client: Client, customers: dict[str, list[cdnow.Purchase]], progress: Progress, task: Any) -> None:
    """Hands everything over, then shows how it leaves."""
    for customer, purchases in customers.items():
        traits = {
            "first_purchase": purchases[0].date,
            "purchases": len(purchases),
            "total_spent": sum(purchase.cents for purchase in purchases) / 100,
        }
        client.identify(customer, traits, timestamp=purchases[0].date)
        for date, cds, cents in purchases:
            client.track(customer, "Order Completed", {"cds": cds, "value": cents / 100}, timestamp=date)
    while (stats := client.stats()).queued > 0:
        progress.update(task, completed=stats.delivered + stats.failed)
        time.sleep(0.05)
    progress.update(task, completed=stats.delivered + stats.failed)


def call_backend(url: str) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=10)
    for number in range(OTHER_EVENTS):
        connection.request("GET", f"/product?user=visitor-{number % 20}&number={number}")
        if connection.getresponse().read() != b"ok\n":
            raise SystemExit("the Node backend did not answer")
    connection.close()


class Found(NamedTuple):
    """What reading back showed of one source's events."""

    sent: int
    verified: int
    missing: int
    duplicate: int
    out_of_order: int

    def ok(self) -> bool:
        return self.verified == self.sent and self.missing == self.duplicate == self.out_of_order == 0

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.verified} verified, {self.missing} missing, "
            f"{self.duplicate} duplicate, {self.out_of_order} out of order"
        )


def in_order(events: list[dict[str, Any]]) -> bool:
    """Whether events that are sorted by their own time also arrived, and were made, in this order."""
    arrived = [event["receivedTime"] for event in events]
    made = [event["rawData"]["messageId"] for event in events]  # UUIDv7: sorts by the moment of the call
    return arrived == sorted(arrived) and made == sorted(made)


def compare_cdnow(customers: dict[str, list[cdnow.Purchase]], stored: dict[str, list[dict[str, Any]]]) -> Found:
    """Compares each customer's events with the file, one by one."""
    expected_count = len(customers) + sum(map(len, customers.values()))
    verified = missing = duplicate = out_of_order = 0
    for customer, purchases in customers.items():
        first = purchases[0].date
        total = round(sum(purchase.cents for purchase in purchases) / 100, 2)
        expected: list[tuple[object, ...]] = [("identify", first, len(purchases), total)]
        expected += [("Order Completed", *purchase) for purchase in purchases]
        events = stored.get(customer, [])
        ids = {event["rawData"]["messageId"] for event in events}
        duplicate += len(events) - len(ids)
        unmatched = list(expected)
        for event in (content(event) for event in events):
            if event in unmatched:
                unmatched.remove(event)
                verified += 1
        missing += len(unmatched)
        if not unmatched and ([content(event) for event in events] != expected or not in_order(events)):
            out_of_order += 1
    return Found(expected_count, verified, missing, duplicate, out_of_order)


def content(event: dict[str, Any]) -> tuple[object, ...]:
    """An event as `compare_cdnow` expects it."""
    raw = event["rawData"]
    date = read_back.parse_time(event["eventTime"])
    if raw["event"] == "identify":
        traits = raw["traits"]
        same_date = read_back.parse_time(traits["first_purchase"]) == date
        return ("identify", date if same_date else None, traits["purchases"], traits["total_spent"])
    return (raw["event"], date, raw["properties"]["cds"], round(raw["properties"]["value"] * 100))


def compare_numbered(name: str, stored: dict[str, list[dict[str, Any]]]) -> Found:
    """Compares the events of another program, which carry their number."""
    numbers: list[int] = []
    out_of_order = 0
    for events in stored.values():
        own = [event["rawData"]["properties"]["number"] for event in events if event["rawData"]["event"] == name]
        numbers += own
        out_of_order += own != sorted(own)
    found = set(numbers)
    return Found(OTHER_EVENTS, len(found), OTHER_EVENTS - len(found), len(numbers) - len(found), out_of_order)


def main() -> int:
    console = Console()
    customers = cdnow.load()
    total = len(customers) + sum(map(len, customers.values()))
    columns = (
        TextColumn("{task.description:22}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Pace(),
        TimeElapsedColumn(),
    )
    with ExitStack() as stack, Progress(*columns, console=console) as progress:
        sandbox = start(stack, sys.executable, "-m", "intilery", "sandbox", INTILERY_AUTH_TOKEN=ACCOUNT["AUTH_TOKEN"])
        url = first_line(sandbox)
        environment = {f"INTILERY_{name}": value for name, value in ACCOUNT.items()} | {"INTILERY_ENDPOINT": url}
        console.print(f"The sandbox listens at {url}: 100 requests a second, burst 500.")

        program = start(stack, str(ROOT / "build" / "example" / "stock_check"), **environment, **OTHERS)
        backend = start(stack, "node", "node_backend.mjs", **environment, **OTHERS)
        client = Client(
            client_id=ACCOUNT["CLIENT_ID"],
            account_id=ACCOUNT["ACCOUNT_ID"],
            brand_id=ACCOUNT["BRAND_ID"],
            auth_token=ACCOUNT["AUTH_TOKEN"],
            endpoint=url,
            rate_limit=PYTHON["rate_limit"],
            burst=PYTHON["burst"],
        )
        with client:
            send(client, customers, progress, progress.add_task("Python sends CDNOW", total=total))
            sent = client.stats()
        call_backend(first_line(backend))
        backend.terminate()
        ended = {"Node": backend.wait(timeout=60), "C++": program.wait(timeout=60)}
        console.print(f"Python: {sum(sent.requests.values())} requests, {sent.bytes_sent / 1e6:.1f} MB. {sent.state}.")

        stored: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        reading = progress.add_task("Reading back", total=total + 2 * OTHER_EVENTS)
        for event in read_back.all_events(url, PATH, ACCOUNT["AUTH_TOKEN"], rate=95):
            stored[event["userId"]].append(event)
            progress.advance(reading)

    found = compare_cdnow(customers, stored)
    others = {"Node": compare_numbered("Product Viewed", stored), "C++": compare_numbered("Stock Checked", stored)}
    orders = [event["rawData"] for events in stored.values() for event in events]
    orders = [event for event in orders if event["event"] == "Order Completed"]
    cds = sum(event["properties"]["cds"] for event in orders)
    cents = sum(round(event["properties"]["value"] * 100) for event in orders)
    expected_cds = sum(purchase.cds for purchases in customers.values() for purchase in purchases)
    expected_cents = sum(purchase.cents for purchases in customers.values() for purchase in purchases)
    for name, other in others.items():
        print(f"{name}: {other}")
    print(f"demo: {found}, {cds} cds, {cents // 100}.{cents % 100:02} dollars")
    sums_agree = (cds, cents) == (expected_cds, expected_cents)
    all_ok = found.ok() and sums_agree and all(other.ok() for other in others.values()) and not any(ended.values())
    return 0 if all_ok else 1


if __name__ == "__main__":
    sys.exit(main())
