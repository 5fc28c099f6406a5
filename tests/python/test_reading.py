from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from programs import start as start_program
from vector_calls import value_of

from intilery import AuthError, Client, ClosedError, DeliveryError, Event, Profile, TimeoutError, ValidationError
from intilery.testing import Sandbox

MOMENT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "reading.json").read_text(encoding="utf-8"))
SLOW: Any = {"rate_limit": 0.01, "burst": 1}  # the second request waits for minutes


@pytest.fixture
def sandbox() -> Any:
    with Sandbox(rate_limit=0) as running:
        yield running


def send(client: Client, count: int, per_ms: int = 1) -> None:
    for i in range(count):
        client.track("u", "E", {"i": i}, timestamp=MOMENT + timedelta(milliseconds=i // per_ms))
    assert client.flush(timeout=60).remaining == 0


def numbers(events: list[Event]) -> list[int]:
    return [event.raw_data["properties"]["i"] for event in events]


def test_an_event_is_read_as_it_was_sent(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        properties = {"total": 30.5, "text": "Grüße \u202e \x1b[31m"}
        receipt = client.track("ABC/123", "Order Completed", properties, timestamp=MOMENT).result(timeout=5)
        (event,) = client.events("ABC/123")
    assert event.event_id == receipt.event_id
    assert event.event_time == MOMENT
    assert event.received_time is not None
    assert abs(event.received_time - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert event[3:9] == ("track", "Order Completed", "hea", "hea", "HEA", "ABC/123")
    assert event.raw_data["properties"] == properties
    assert event.raw_data["messageId"] == receipt.message_id


def test_more_events_than_the_paging_reaches_are_read(sandbox: Sandbox) -> None:
    with sandbox.client(delivery="batch") as client:
        send(client, 10_320, per_ms=3)
        assert sorted(numbers(list(client.events()))) == list(range(10_320))
        limited = list(client.events(sort="asc", limit=10_010))
    assert len(limited) == 10_010
    times = [event.event_time for event in limited if event.event_time is not None]
    assert times == sorted(times)


def test_a_query_narrows_down(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        send(client, 10)
        client.track("other", "Login").result(timeout=5)
        later = MOMENT + timedelta(milliseconds=6)
        assert numbers(list(client.events("u", start=later))) == [9, 8, 7, 6]
        assert numbers(list(client.events(end="2023-11-14T23:13:20.001+01:00"))) == [1, 0]
        assert [event.name for event in client.events(include="Login")] == ["Login"]
        assert [event.name for event in client.events(exclude=["E"])] == ["Login"]
        assert list(client.events("nobody")) == []


def test_moments_may_be_far_away(sandbox: Sandbox) -> None:
    far = datetime(2500, 1, 1, tzinfo=timezone.utc)
    with sandbox.client() as client:
        client.track("u", "Far", timestamp=far)
        send(client, 1)
        assert [event.event_time for event in client.events()] == [far, MOMENT]
        assert numbers(list(client.events(start="0001-01-01T00:00:00Z", end="2400-12-31T00:00:00Z"))) == [0]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_the_vectors_of_reading_hold(sandbox: Sandbox, case: dict[str, Any]) -> None:
    if "python" not in case.get("languages", ["python"]):
        return
    query = {"user_id" if name == "userId" else name: value_of(value) for name, value in case["query"].items()}
    with sandbox.client() as client:
        try:
            if case["read"] == "profile":
                assert client.profile(**query) is None
            else:
                next(getattr(client, case["read"])(**query), None)
        except ValidationError as error:
            assert {"code": error.code, "path": error.path} == case.get("error"), error
        else:
            assert sandbox.requests()[-1].path == "/track/hea/hea/HEA/v1/" + case.get("path", "an error")


def test_what_has_no_json_form_is_no_query(sandbox: Sandbox) -> None:
    with sandbox.client() as client, pytest.raises(ValidationError) as raised:
        client.events(include={"A"})  # type: ignore[arg-type]
    assert (raised.value.code, raised.value.path) == ("unsupported_type", "include")


def test_a_profile_is_found_by_each_of_its_keys(sandbox: Sandbox) -> None:
    traits = {"email": "fred@example.com", "age": 40}
    with sandbox.client() as client:
        client.identify("ABC/123", traits).result(timeout=5)
        profile = client.profile("ABC/123")
        assert profile is not None
        assert (profile.user_id, profile.traits, profile.meta["events"]) == ("ABC/123", traits, 1)
        found = client.profile(email="fred@example.com")
        assert found is not None
        assert found[:3] == profile[:3]
        assert [event.action for event in client.events(id=profile.id)] == ["identify"]
        assert client.profile("nobody") is None


def test_an_email_that_several_have_gives_all_of_them(sandbox: Sandbox) -> None:
    with sandbox.client(delivery="batch") as client:
        for user in ("a", "b"):
            client.identify(user, {"email": "shared@example.com"})
        for i in range(250):
            client.track("ab"[i % 2], "E", {"i": i}, timestamp=MOMENT + timedelta(milliseconds=i))
        client.flush()
        events = list(client.events(email="shared@example.com", include="E", sort="asc"))
        assert numbers(events) == list(range(250))
        assert {profile.user_id for profile in client.profiles("shared@example.com")} == {"a", "b"}
        with pytest.raises(ValidationError, match="2 customers have this email") as raised:
            client.profile(email="shared@example.com")
    assert "shared@" not in str(raised.value)


def test_all_profiles_are_listed(sandbox: Sandbox) -> None:
    with sandbox.client(delivery="batch") as client:
        for i in range(201):
            client.identify(f"user-{i}", {"i": i})
        client.flush()
        profiles = list(client.profiles())
    assert all(isinstance(profile, Profile) for profile in profiles)
    assert sorted(profile.traits["i"] for profile in profiles) == list(range(201))


def test_events_become_tables(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        send(client, 3)
        pandas, polars, arrow = (client.events().to_pandas(), client.events().to_polars(), client.events().to_arrow())
        nothing = [client.events("nobody") for _ in range(3)]
        none = (nothing[0].to_pandas(), nothing[1].to_polars(), nothing[2].to_arrow())
    assert list(pandas.columns) == polars.columns == arrow.column_names == list(Event._fields)
    assert str(pandas.dtypes["event_time"]).endswith("UTC]")
    assert pandas["event_time"][2] == polars["event_time"][2] == arrow["event_time"][2].as_py() == MOMENT
    assert [json.loads(raw)["properties"]["i"] for raw in pandas["raw_data"]] == [2, 1, 0]
    assert polars["raw_data"].to_list() == arrow["raw_data"].to_pylist() == pandas["raw_data"].tolist()
    assert [len(none[0]), len(none[1]), len(none[2])] == [0, 0, 0]
    assert none[0].dtypes["event_time"] == pandas.dtypes["event_time"]
    assert (none[1].schema, none[2].schema) == (polars.schema, arrow.schema)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_table_says_what_to_install(sandbox: Sandbox, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with sandbox.client() as client, pytest.raises(ImportError, match=f"pip install {library}"):
        getattr(client.events(), f"to_{library.replace('py', '')}")()


def test_a_view_reads_its_own_brand() -> None:
    with Sandbox(brand_ids=["HEA", "HEB"]) as sandbox, sandbox.client() as client:
        list(client.brand("HEB").events("u"))
        assert sandbox.requests()[-1].path.startswith("/track/hea/hea/HEB/v1/profiles/")


def test_a_wrong_token_ends_no_reading(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        send(client, 150)
        events = client.events()
        taken = [next(events) for _ in range(100)]
        sandbox.set_token("new")
        with pytest.raises(AuthError):
            next(events)
        client.set_auth_token("new")
        taken.extend(events)
    assert numbers(taken) == list(range(149, -1, -1))


def test_a_429_meanwhile_loses_nothing() -> None:
    quick: Any = {"rate_limit": 1000, "burst": 1000, "delivery": "batch"}
    with Sandbox(rate_limit=3, burst=5) as sandbox, sandbox.client(**quick) as client:
        send(client, 700)
        before = client.stats().requests.get(429, 0)
        assert len(list(client.events())) == 700
        assert client.stats().requests[429] > before


def test_a_reading_that_takes_too_long_says_so(sandbox: Sandbox) -> None:
    with sandbox.client(**SLOW) as client:
        assert client.profile("nobody") is None
        with pytest.raises(TimeoutError):
            client.profile("nobody", timeout=0.02)
        with pytest.raises(TimeoutError):
            next(client.events(timeout=0.02))


def test_closing_ends_a_reading_that_is_under_way(sandbox: Sandbox) -> None:
    client = sandbox.client(**SLOW)
    assert list(client.events()) == []
    raised: list[BaseException] = []

    def read() -> None:
        try:
            next(client.events())
        except ClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.02)  # whether it is under way by then or not, it ends
    client.close()
    thread.join(timeout=5)
    assert len(raised) == 1
    with pytest.raises(ClosedError):
        next(client.events())


def test_threads_may_share_a_reading(sandbox: Sandbox) -> None:
    with sandbox.client(delivery="batch") as client:
        send(client, 2_000)
        events = client.events()
        taken: list[list[Event]] = [[] for _ in range(4)]
        threads = [threading.Thread(target=one.extend, args=(events,)) for one in taken]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers([event for one in taken for event in one])) == list(range(2_000))


def test_ctrl_c_ends_a_reading_at_once(sandbox: Sandbox) -> None:
    process = start_program(
        sandbox,
        """
        client = Client.from_env(rate_limit=0.01, burst=1)
        list(client.events())
        try:
            print("waiting", flush=True)
            next(client.events(timeout=None))
        except KeyboardInterrupt:
            print("interrupted")
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("interrupted\n", 0), err


def test_an_async_client_reads_without_blocking_the_loop(sandbox: Sandbox) -> None:
    async def main() -> None:
        async with sandbox.async_client(delivery="batch") as client:
            for i in range(250):
                client.track("u", "E", {"i": i}, timestamp=MOMENT + timedelta(milliseconds=i))
            client.identify("u", {"email": "fred@example.com"})
            await client.flush()
            events = client.events(include="E")
            taken = [event async for event in events]
            assert numbers(taken) == list(range(249, -1, -1))
            assert len(await client.events(limit=120).to_polars()) == 120
            assert len(await client.events(limit=120).to_pandas()) == 120
            assert len(await client.events(limit=120).to_arrow()) == 120
            profile = await client.profile(email="fred@example.com")
            assert profile is not None
            assert profile.user_id == "u"
            assert await client.profile("nobody") is None
            assert [profile.user_id async for profile in client.profiles()] == ["u"]
        with pytest.raises(ClosedError):
            await client.profile("u")

    asyncio.run(main())


def test_a_cancelled_reading_goes_on_where_it_was(sandbox: Sandbox) -> None:
    async def main() -> list[Event]:
        async with sandbox.async_client(rate_limit=10, burst=2) as client:
            for i in range(120):
                client.track("u", "E", {"i": i}, timestamp=MOMENT + timedelta(milliseconds=i))
            await client.flush()
            events = client.events()
            taken: list[Event] = []
            turns = 0
            while True:
                try:
                    taken.append(await asyncio.wait_for(events.__anext__(), 0.25))
                except asyncio.TimeoutError:
                    turns += 1
                    assert turns < 50
                except StopAsyncIteration:
                    return taken

    assert numbers(asyncio.run(main())) == list(range(119, -1, -1))


def test_a_dry_run_reads_nothing(sandbox: Sandbox) -> None:
    with sandbox.client(dry_run=True) as client, pytest.raises(DeliveryError) as raised:
        next(client.events())
    assert raised.value.reason == "dry_run"
