"""One Python client in a process of its own; compare.py runs this for each.

    PYTHONPATH=FOLDER python bench/peers/client.py NAME MODE URL EVENTS

MODE `send`: to a server that answers; prints what importing it, a call, and an event until its acknowledgement cost.
MODE `queue`: to a server that never answers, with the largest queue; prints what a call cost and
the memory that an event takes there.
Each client is set up as its own documentation begins, but for the address.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable

ORDER: dict[str, Any] = json.loads(Path(__file__).parent.parent.joinpath("payload.json").read_text())
USER, EVENT = "ABC/123456", "Order Completed"

Call = Callable[["dict[str, Any]"], object]
Adapter = Callable[[Any, str, bool], "tuple[Call, Callable[[], object]] | None"]


def intilery(module: Any, url: str, large: bool):
    client = module.Client(
        client_id="hea",
        account_id="hea",
        brand_id="HEA",
        auth_token="sandbox-token",
        endpoint=url,
        delivery="batch",
        rate_limit=100_000,
        max_queue_bytes=4_000_000_000,  # wall.py sends a million
    )
    return lambda order: client.track(USER, EVENT, order), client.flush


def segment(module: Any, url: str, large: bool):
    client = module.Client("key", host=url, max_queue_size=10_000_000 if large else 10_000)
    return lambda order: client.track(USER, EVENT, order), client.flush


def rudder(module: Any, url: str, large: bool):
    client = module.Client("key", host=url, max_queue_size=10_000_000 if large else 10_000)
    return lambda order: client.track(USER, EVENT, order), client.flush


def posthog(module: Any, url: str, large: bool):
    client = module.Posthog("key", host=url, max_queue_size=10_000_000 if large else 10_000)
    return lambda order: client.capture(EVENT, distinct_id=USER, properties=order), client.flush


def mixpanel(module: Any, url: str, large: bool):
    if large:
        return None  # it has no queue: each fiftieth call sends, and waits
    consumer = module.BufferedConsumer(events_url=f"{url}/track")
    client = module.Mixpanel("token", consumer=consumer)
    return lambda order: client.track(USER, EVENT, order), consumer.flush


def amplitude(module: Any, url: str, large: bool):
    client = module.Amplitude("key", module.Config(server_url=f"{url}/2/httpapi"))
    sent: list[Any] = []
    client.configuration.callback = lambda event, code, message=None: sent.append(code)
    calls = 0

    def call(order: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        client.track(module.BaseEvent(EVENT, user_id=USER, event_properties=order))

    def finish() -> None:
        client.flush()
        deadline = time.monotonic() + 60
        while len(sent) < calls and time.monotonic() < deadline:
            time.sleep(0.001)

    return call, finish


def customerio(module: Any, url: str, large: bool):
    if large:
        return None  # it has no queue: each call sends, and waits
    client = module.CustomerIO("site", "key")
    client.base_url = f"{url}/api/v1"  # it has no option for plain http
    return lambda order: client.track(USER, EVENT, order), lambda: None


def snowplow(module: Any, url: str, large: bool):
    if large:
        return None  # a call that fills a batch sends it, and waits
    emitter = module.Emitter(url)
    tracker = module.Tracker("bench", emitters=[emitter], encode_base64=False)
    schema = "iglu:com.example/order_completed/jsonschema/1-0-0"
    subject = module.Subject().set_user_id(USER)

    def call(order: dict[str, Any]) -> None:
        json_event = module.SelfDescribingJson(schema, order)
        tracker.track(module.SelfDescribing(json_event, event_subject=subject))

    return call, tracker.flush


CLIENTS: dict[str, tuple[str, Adapter]] = {
    "intilery": ("intilery", intilery),
    "segment-analytics-python": ("segment.analytics", segment),
    "posthog": ("posthog", posthog),
    "rudder-sdk-python": ("rudderstack.analytics", rudder),
    "mixpanel": ("mixpanel", mixpanel),
    "amplitude-analytics": ("amplitude", amplitude),
    "customerio": ("customerio", customerio),
    "snowplow-tracker": ("snowplow_tracker", snowplow),
}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    name, mode, url, events = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    module_name, adapter = CLIENTS[name]
    started = time.perf_counter()
    module = importlib.import_module(module_name)
    result: dict[str, Any] = {"import_ms": (time.perf_counter() - started) * 1e3}
    made = adapter(module, url, mode == "queue")
    if made is None:
        print(json.dumps({"queue_bytes": None}))
        return
    call, finish = made
    if mode == "queue":
        gc.collect()
        before, started = resident(), time.perf_counter()
        for _ in range(events):
            call(ORDER)
        result["call_us"] = (time.perf_counter() - started) * 1e6 / events
        result["queue_bytes"] = (resident() - before) / events
    else:
        for _ in range(100):  # connections, threads and caches are there before it counts
            call({"warm": True})
        finish()
        started, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
        for _ in range(events):
            call(ORDER)
        called = time.perf_counter()
        result["call_cpu_us"] = (time.thread_time() - own) * 1e6 / events
        finish()
        result["call_us"] = (called - started) * 1e6 / events
        result["cpu_us"] = (time.process_time() - cpu) * 1e6 / events
        result["wall_us"] = (time.perf_counter() - started) * 1e6 / events
    print(json.dumps(result), flush=True)
    os._exit(0)  # what still waits for the silent server is not waited for


if __name__ == "__main__":
    main()
