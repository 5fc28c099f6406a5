"""Reads everything that arrived back over the read API (contract: GET …/events), within the account's rate."""

from __future__ import annotations

import datetime
import http.client
import json
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

PAGE = 100  # the API's largest page
REACH = 10_000  # how far its paging goes


def all_events(url: str, path: str, token: str, rate: float) -> Iterator[dict[str, Any]]:
    """Yields every event once, by its own time, and those of one time in the order of arrival.

    Paging reaches 10,000 events, so a longer list is read in windows: each begins at the last time seen, and skips what
    the window before has shown.
    """
    host = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    pace = Pace(rate)
    seen: set[str] = set()
    start = "0000-01-01T00:00:00.000Z"
    while True:
        events: list[dict[str, Any]] = []
        for offset in range(0, REACH, PAGE):
            query = urllib.parse.urlencode({"sort": "asc", "size": PAGE, "from": offset, "start": start})
            page = _get(connection, f"{path}/events?{query}", token, pace)["events"]
            events += page
            for event in page:
                if event["eventId"] not in seen:
                    seen.add(event["eventId"])
                    yield event
            if len(page) < PAGE:
                connection.close()
                return
        start = events[-1]["eventTime"]


class Pace:
    """At most `rate` requests a second."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0

    def wait(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + self._gap


def _get(connection: http.client.HTTPConnection, path: str, token: str, pace: Pace) -> dict[str, Any]:
    while True:
        pace.wait()
        connection.request("GET", path, headers={"auth-token": token})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200:
            page: dict[str, Any] = json.loads(body)
            return page
        if answer.status != 429:
            raise SystemExit(f"reading back: HTTP {answer.status} {body[:200]!r}")
        time.sleep(float(answer.getheader("retry-after", "1")))


def parse_time(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
