"""Whatever goes in comes back equal, or is refused at its place: with values by chance (Hypothesis).

A real client sends them over a real socket to the sandbox, many events at once. `INTILERY_EXAMPLES` multiplies the
number of examples (`make properties`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import decimal
import enum
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import types
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from programs import environment

import intilery
from intilery import Client, ClosedError, Delivery, DeliveryError, ValidationError
from intilery.testing import MemoryClient, Sandbox

EXAMPLES = int(os.environ.get("INTILERY_EXAMPLES", "1"))


def examples(count: int) -> settings:
    return settings(
        max_examples=count * EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES == 1,
        suppress_health_check=list(HealthCheck),
        database=None,
        print_blob=True,
    )


# Values.

UTC = datetime.timezone.utc


class Colour(enum.Enum):
    red = "r"
    deep = 7


@dataclasses.dataclass
class Product:
    name: str
    price: Any


characters = st.characters(exclude_categories=["Cs"])
at_borders = st.builds(  # of the vector registers that look for what must be escaped
    lambda before, odd, after: "x" * before + odd + "y" * after,
    st.sampled_from([size + more for size in (0, 16, 32, 64, 128) for more in (-2, -1, 0, 1) if size + more >= 0]),
    st.text(characters, max_size=2) | st.sampled_from(['"', "\\", "\0", "\x1f", "\x7f", "é", "\u2028", "\U0001f600"]),
    st.integers(0, 70),
)
texts = st.text(characters, max_size=20) | at_borders
names = st.text(characters, min_size=1, max_size=20) | at_borders.filter(bool)
keys = texts | st.sampled_from(["", "__proto__", "toJSON", "a.b", "a[0]", "0", "userId", "library"])
offsets = st.timedeltas(datetime.timedelta(hours=-23, minutes=-59), datetime.timedelta(hours=23, minutes=59))
moments = st.datetimes(  # a day from the borders, whatever the zone
    datetime.datetime(1, 1, 3), datetime.datetime(9999, 12, 29), timezones=st.builds(datetime.timezone, offsets)
) | st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.timezones())
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**64), 2**64),
    st.integers(-(10**300), 10**300),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    moments,
    st.datetimes(),
    st.dates(),
    st.times(),
    st.uuids(),
    st.sampled_from(Colour),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.builds(pathlib.PurePosixPath, st.text("abc/.é ", max_size=10)),
)
values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=6),
        st.dictionaries(keys, inner, max_size=3).map(types.MappingProxyType),
        st.builds(Product, texts, inner),
    ),
    max_leaves=25,
)
objects = st.dictionaries(keys, values, max_size=6)


def same(value: Any, wire: Any) -> bool:
    """Whether a value became what the table in docs/values.md says. `wire` has every number as a Decimal."""
    if isinstance(value, enum.Enum):
        return same(value.value, wire)
    if value is None or isinstance(value, bool):
        return wire is value
    if isinstance(value, str):
        return isinstance(wire, str) and wire == value
    if isinstance(value, float):
        return isinstance(wire, decimal.Decimal) and float(wire) == value
    if isinstance(value, (int, decimal.Decimal)):
        return isinstance(wire, decimal.Decimal) and wire == value
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        plain = value.astimezone(UTC).replace(tzinfo=None)
        return bool(wire == f"{plain.isoformat(timespec='milliseconds')}Z")
    if isinstance(value, (datetime.date, datetime.time)):
        return bool(wire == value.isoformat())
    if isinstance(value, (uuid.UUID, pathlib.PurePath)):
        return bool(wire == str(value))
    if isinstance(value, Product):
        return same({"name": value.name, "price": value.price}, wire)
    if isinstance(value, Mapping):
        in_order = isinstance(wire, dict) and list(wire) == list(value)
        return in_order and all(same(member, wire[key]) for key, member in value.items())
    return (
        isinstance(value, Sequence)
        and isinstance(wire, list)
        and len(wire) == len(value)
        and all(same(*pair) for pair in zip(value, wire))
    )


def on_the_wire(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """Every event that arrived, by its message id, with its action."""
    arrived = {}
    for request in sandbox.requests():
        body = json.loads(request.body, parse_int=decimal.Decimal, parse_float=decimal.Decimal)
        for message in body.get("batch", [body]):
            arrived[message["messageId"]] = {**message, "action": request.action}
    return arrived


# Calls.

ids = st.text(characters, max_size=30) | at_borders
contexts = st.none() | st.dictionaries(keys, values, max_size=3)
events_of_ones_own = names.filter(lambda name: not name.lower().startswith(("send_", "start_")))
merge_data = objects.map(lambda data: {f"x{key}": value for key, value in data.items()})


@st.composite
def calls(draw: st.DrawFn, number: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A call that is right: its name and arguments; and the event that must arrive."""
    name = draw(st.sampled_from(["identify", "track", "page", "screen", "send_email", "send_push", "start_journey"]))
    user = f"{number}{draw(ids)}"
    given: dict[str, Any] = {"user_id": user, "message_id": f"{number}-{draw(ids)}"}
    wire: dict[str, Any] = {"userId": user, "messageId": given["message_id"], "action": name, "event": name}
    if name in ("page", "screen") and draw(st.booleans()):
        given["anonymous_id"] = wire["anonymousId"] = given.pop("user_id")
        del wire["userId"]
    body = draw(objects)
    if name == "identify":
        body.pop("marketingPreferences", None)
        given["traits"] = wire["traits"] = body
    elif name in ("track", "page", "screen"):
        given["properties"] = wire["properties"] = body
    if name == "track":
        given["event"] = wire["event"] = draw(events_of_ones_own)
    if name == "screen" and draw(st.booleans()):
        given["name"] = wire["name"] = draw(names)
    if name.startswith("s") and name != "screen":
        wire["action"] = "track"
        given["data"] = draw(merge_data)
        wire.update(given["data"])
    if name.startswith("send_"):
        given["asset_id"] = wire["assetId"] = draw(names)
    if name == "start_journey":
        given["journey_id"], given["step_id"] = draw(names), draw(names)
        wire["properties"] = {"journeyIdToTrigger": given["journey_id"], "stepIdToTrigger": given["step_id"]}
    if (context := draw(contexts)) is not None:
        given["context"] = context
        library = (
            {} if "library" in context else {"library": {"name": "intilery-python", "version": intilery.__version__}}
        )
        wire["context"] = {**context, **library}
    if draw(st.booleans()):
        given["timestamp"] = wire["timestamp"] = draw(moments)
    return name, given, wire


@st.composite
def many_calls(draw: st.DrawFn) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    return [draw(calls(number)) for number in range(draw(st.integers(1, 12)))]


@pytest.mark.parametrize("delivery", ["event", "batch"])
@pytest.mark.parametrize("before_send", [None, dict], ids=["", "before_send"])
def test_whatever_a_call_gives_arrives_as_it_was(delivery: Any, before_send: Any) -> None:
    options: dict[str, Any] = {"delivery": delivery, "flush_interval": 0.001, "before_send": before_send}
    with Sandbox(rate_limit=0, max_request_bytes=6_000_000) as sandbox, sandbox.client(**options) as client:

        @examples(30)
        @given(many_calls())
        def check(made: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
            sandbox.clear()
            for name, arguments, _ in made:
                getattr(client, name)(**arguments)
            flushed = client.flush(timeout=30)
            assert (flushed.failed, flushed.remaining) == (0, 0)
            arrived = on_the_wire(sandbox)
            assert len(arrived) == len(made)
            for name, arguments, wire in made:
                event = arrived[arguments["message_id"]]
                if delivery == "batch" and event["action"] == "batch":
                    wire = {**wire, "action": "batch"}
                for member, value in wire.items():
                    assert same(value, event[member]), (name, member, value, event[member])
                more = event.keys() - wire.keys()
                assert more <= {"context", "timestamp", "sentAt"}, more

        check()


def test_containers_go_64_deep_and_no_deeper() -> None:
    with MemoryClient() as client:

        @examples(60)
        @given(st.lists(st.booleans(), min_size=55, max_size=70), leaves)
        def check(levels: list[bool], leaf: Any) -> None:
            client.clear()
            value = leaf
            for is_list in levels:
                value = [value] if is_list else {"k": value}
            properties = {"v": value}
            if 1 + len(levels) <= 64:
                client.track("u", "E", properties)
                client.flush(5)
                assert len(client.sent) == 1
                return
            with pytest.raises(ValidationError) as refused:
                client.track("u", "E", properties)
            steps = "".join("[0]" if is_list else ".k" for is_list in reversed(levels[-63:]))
            assert (refused.value.code, refused.value.path) == ("too_deep", f"properties.v{steps}")

        check()


# Refusals.

culprits = st.sampled_from(
    [
        (math.nan, "not_finite"),
        (-math.inf, "not_finite"),
        (decimal.Decimal("sNaN"), "not_finite"),
        (decimal.Decimal("-Infinity"), "not_finite"),
        (b"x", "unsupported_type"),
        (bytearray(b""), "unsupported_type"),
        ({1}, "unsupported_type"),
        (object(), "unsupported_type"),
        (int, "unsupported_type"),
        (lambda: None, "unsupported_type"),
        ("a\udc00", "invalid_text"),
        ({1: 2}, "invalid_key"),
        ({None: 2}, "invalid_key"),
        ({"\ud800": 2}, "invalid_text"),
        (Product("p", {("a", 1): 2}), "invalid_key"),
    ]
)


def objects_without(key: str, inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(keys.filter(lambda other: other != key), inner, max_size=2)


def step(key: str | int) -> str:
    """One step of a path, as docs/errors.md has them."""
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"[A-Za-z0-9_$-]+", key) else f"[{json.dumps(key, ensure_ascii=False)}]"


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[dict[str, Any], str, str]:
    """An object with a culprit in it, the code of its refusal, and the culprit's path."""
    value, code = draw(culprits)
    path = ".price" if isinstance(value, Product) else ""
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            before = draw(st.lists(leaves, max_size=3))
            path = step(len(before)) + path
            value = [*before, value, *draw(st.lists(leaves, max_size=2))]
        else:
            key = draw(keys)
            path = step(key) + path
            value = {**draw(objects_without(key, leaves)), key: value}
    key = draw(keys)
    others = draw(objects_without(key, values))
    return {**others, key: value}, code, step(key) + path


def test_a_culprit_is_refused_at_its_place_and_costs_no_other_event() -> None:
    with Sandbox(rate_limit=0) as sandbox, sandbox.client(delivery="event") as client:

        @examples(150)
        @given(spoiled(), st.sampled_from(["traits", "properties", "context", "data"]))
        def check(bad: tuple[dict[str, Any], str, str], field: str) -> None:
            value, code, path = bad
            if field == "data":
                value, path = {"x": value}, ".x" + path  # a name that is no field of the event's own
            made: dict[str, Callable[..., Delivery]] = {
                "traits": client.identify,
                "properties": client.page,
                "context": client.screen,
                "data": client.send_push,
            }
            more = {"asset_id": "a"} if field == "data" else {}
            accepted = client.stats().accepted
            with pytest.raises(ValidationError) as refused:
                made[field]("u", **{field: value}, **more)
            assert (refused.value.code, refused.value.path) == (code, field + path)
            assert client.stats().accepted == accepted
            client.track("v", "E", {"fine": True}, message_id="the next")

        check()
        client.flush(timeout=30)
        assert {message["messageId"] for message in on_the_wire(sandbox).values()} == {"the next"}


# Many.

cells = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
)


@pytest.mark.parametrize("form", ["dicts", "ndjson"])
def test_every_row_of_a_source_comes_back(form: str, tmp_path: pathlib.Path) -> None:
    columns = names.filter(lambda name: name not in ("user_id", "anonymous_id", "event", "timestamp", "message_id"))
    row = st.dictionaries(columns, cells, max_size=4)
    with Sandbox(rate_limit=0, max_request_bytes=6_000_000) as sandbox, sandbox.client() as client:

        @examples(25)
        @given(st.lists(row, min_size=1, max_size=40), st.integers(1, 5))
        def check(rows: list[dict[str, Any]], users: int) -> None:
            sandbox.clear()
            given = [
                {**row, "user_id": f"u{number % users}", "message_id": f"{number}"} for number, row in enumerate(rows)
            ]
            path = tmp_path / "rows.ndjson"
            path.write_text("".join(json.dumps(row) + "\n" for row in given), encoding="utf-8")
            sent = client.send_many(given if form == "dicts" else str(path), event="Row")
            assert (sent.rows, sent.delivered) == (len(rows), len(rows))
            arrived = on_the_wire(sandbox)
            assert len(arrived) == len(rows)
            for number, row in enumerate(rows):
                message = arrived[f"{number}"]
                assert message["userId"] == f"u{number % users}"
                assert same(row, message["properties"]), (row, message)
            order = defaultdict(list)
            for event in sandbox.events():
                order[event["userId"]].append(int(event["rawData"]["messageId"]))
            assert all(numbers == sorted(numbers) for numbers in order.values())

        check()


KILLED = """
import json, os, signal, sys
from intilery import Client
client = Client.from_env(rate_limit=1e6, burst=1e6, retry_initial=0.001)
for number, user in enumerate(json.loads(sys.argv[1])):
    client.track(f"u{user}", "E", {"number": number}, message_id=f"{sys.argv[2]}-{number}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_spooled_arrives_in_order_under_its_ids(tmp_path: pathlib.Path) -> None:
    @examples(4)
    @given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=60), min_size=1, max_size=2), st.uuids())
    def check(processes: list[list[int]], name: uuid.UUID) -> None:
        spool = tmp_path / str(name)
        with Sandbox(rate_limit=0, faults=[{"status": 503}]) as sandbox:
            for number, users in enumerate(processes):
                command = [sys.executable, "-c", KILLED, json.dumps(users), f"p{number}"]
                more = environment(sandbox, INTILERY_SPOOL_PATH=str(spool))
                assert subprocess.run(command, env=more, check=False).returncode == -signal.SIGKILL
            sandbox.set_faults()
            with sandbox.client(spool_path=str(spool), retry_initial=0.001) as client:
                client.flush(timeout=30)
            arrived = [event["rawData"] for event in sandbox.events()]
        for number, users in enumerate(processes):
            for user in set(users):
                expected = [f"p{number}-{at}" for at, other in enumerate(users) if other == user]
                got = [m["messageId"] for m in arrived if m["userId"] == f"u{user}"]
                assert [i for i in got if i.startswith(f"p{number}-")] == expected

    check()


def test_before_send_changes_and_drops_exactly_what_it_chooses() -> None:
    @examples(40)
    @given(st.lists(st.tuples(st.sampled_from(["keep", "drop", "change"]), objects), min_size=1, max_size=12))
    def check(made: list[tuple[str, dict[str, Any]]]) -> None:
        def before_send(message: dict[str, Any]) -> Mapping[str, Any] | None:
            fate = message["event"]
            if fate == "change":
                return {**message, "properties": {"changed": message["properties"]}}
            return None if fate == "drop" else message

        with MemoryClient(before_send=before_send) as client:
            for number, (fate, properties) in enumerate(made):
                client.track("u", fate, properties, message_id=str(number))
            client.flush(5)
            sent = json.loads(client._kept.sent_json(), parse_int=decimal.Decimal, parse_float=decimal.Decimal)
            stats = client.stats()
        kept = [(number, *made[number]) for number in range(len(made)) if made[number][0] != "drop"]
        assert [message["messageId"] for message in sent] == [str(number) for number, *_ in kept]
        for message, (_, fate, properties) in zip(sent, kept):
            assert same({"changed": properties} if fate == "change" else properties, message["properties"])
        dropped = len(made) - len(kept)
        assert (stats.accepted, stats.delivered, stats.failed) == (len(made), len(kept), dropped)
        assert stats.failed_by_reason == ({"before_send": dropped} if dropped else {})

    check()


# A client against a model of it.


class ClientMachine(RuleBasedStateMachine):
    """Calls, views, faults, tokens, flushes, forks and a close, in any order."""

    @initialize(delivery=st.sampled_from(["auto", "event", "batch"]), connections=st.integers(1, 4))
    def begin(self, delivery: Any, connections: int) -> None:
        self.sandbox = Sandbox(rate_limit=0, brand_ids=("HEA", "HEB"))
        self.client: Client = self.sandbox.client(
            delivery=delivery,
            max_connections=connections,
            flush_interval=0.001,
            retry_initial=0.001,
            retry_max=0.01,
        )
        self.views = {"HEA": self.client, "HEB": self.client.brand("HEB")}
        self.calls: list[tuple[tuple[str, str], Delivery]] = []  # of a brand's user
        self.by_children = 0
        self.token = "sandbox-token"  # what the server takes
        self.given = "sandbox-token"  # what the client has
        self.closed = False
        self.told: Counter[str] = Counter()  # ids of what `on_delivery` told

    @rule(brand=st.sampled_from(["HEA", "HEB"]), user=st.sampled_from(["a", "b", "c"]), count=st.integers(1, 9))
    def call(self, brand: str, user: str, count: int) -> None:
        for _ in range(count):
            if self.closed:
                with pytest.raises(ClosedError):
                    self.views[brand].track(user, "E")
                continue
            delivery = self.views[brand].track(user, "E", {"n": len(self.calls)}, on_delivery=self.tell)
            self.calls.append(((brand, user), delivery))

    def tell(self, receipt: intilery.Receipt) -> None:
        self.told[receipt.message_id] += 1

    @rule(brand=st.sampled_from(["HEA", "HEB"]))
    def call_wrongly(self, brand: str) -> None:
        with pytest.raises((ValidationError, ClosedError)):
            self.views[brand].track("a", "E", {"bad": math.nan})

    @rule(
        fault=st.sampled_from(
            [
                {"status": 503},
                {"status": 400, "body": '{"success":false,"message":"no"}'},
                {"status": 413},
                {"close": "before"},
                {"close": "during"},
                {"close": "reset_after"},
                {"lost_ack": True},
                {"garbage": True},
                {"truncate": 3},
                {"delay_ms": 20},
            ]
        ),
        times=st.integers(1, 3),
    )
    def trouble(self, fault: dict[str, Any], times: int) -> None:
        self.sandbox.set_faults({**fault, "times": times})

    @rule()
    def change_the_servers_token(self) -> None:
        self.token = "other" if self.token == "sandbox-token" else "sandbox-token"
        self.sandbox.set_token(self.token)

    @rule()
    def set_auth_token(self) -> None:
        self.given = self.token
        with contextlib.suppress(ClosedError):
            self.client.set_auth_token(self.token)

    @precondition(lambda self: self.given == self.token)
    @rule()
    def flush(self) -> None:
        flushed = self.client.flush(timeout=30)
        assert flushed.remaining == 0
        stats = self.client.stats()
        assert (stats.queued, stats.in_flight, stats.accepted) == (0, 0, len(self.calls))
        assert stats.delivered + stats.failed == len(self.calls)

    @rule()
    def flush_without_patience(self) -> None:
        delivered = self.client.stats().delivered
        flushed = self.client.flush(timeout=0)
        stats = self.client.stats()
        # A fate is counted first, and seen by a flush only after it was told.
        assert flushed.delivered + flushed.failed + flushed.remaining <= stats.accepted
        assert flushed.delivered <= stats.delivered and delivered <= stats.delivered

    @precondition(lambda self: self.given == self.token and not self.closed and hasattr(os, "fork"))
    @rule()
    def fork(self) -> None:
        self.sandbox.set_faults()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                fresh = self.client.stats()
                assert (fresh.accepted, fresh.queued, fresh.delivered) == (0, 0, 0)
                assert self.client.track("child", "E").result(timeout=20).delivered
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        self.by_children += 1

    @precondition(lambda self: self.given == self.token and len(self.calls) > 10)
    @rule()
    def close(self) -> None:
        assert self.client.close(timeout=30).remaining == 0
        self.closed = True
        assert self.client.stats().state == "closed"

    @invariant()
    def the_counters_add_up(self) -> None:
        if not hasattr(self, "client"):
            return
        stats = self.client.stats()
        assert stats.accepted == len(self.calls) == stats.delivered + stats.failed + stats.queued
        assert stats.in_flight <= stats.queued
        assert stats.failed == sum(stats.failed_by_reason.values())
        assert (stats.queued == 0) == (stats.queued_bytes == 0)

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self.sandbox.set_faults()
        self.set_auth_token()
        self.client.close(timeout=30)
        self.the_counters_add_up()
        self.sandbox.stop()
        failed = {}
        for _, delivery in self.calls:
            try:
                delivery.result(timeout=0)
            except DeliveryError as error:
                failed[delivery.message_id] = error
        stats = self.client.stats()
        assert stats.failed == len(failed)
        assert {why.reason for why in failed.values()} <= {"rejected", "too_large"}
        assert self.told == Counter(delivery.message_id for _, delivery in self.calls)
        arrived: dict[tuple[str, str], list[str]] = defaultdict(list)
        for event in self.sandbox.events():
            known = arrived[event["brandId"], event["userId"]]
            if (message_id := event["rawData"]["messageId"]) not in known:  # a resend is the same event
                known.append(message_id)
        assert len(arrived.pop(("HEA", "child"), [])) == self.by_children
        expected: dict[tuple[str, str], list[str]] = defaultdict(list)
        for user, delivery in self.calls:
            if delivery.message_id not in failed or delivery.message_id in arrived[user]:
                expected[user].append(delivery.message_id)
        assert {user: ids for user, ids in arrived.items() if ids} == dict(expected)
        for message_id, why in failed.items():
            assert why.arrived == "unknown" or all(message_id not in ids for ids in arrived.values())


def test_a_client_does_what_its_model_says_whatever_happens() -> None:
    run_state_machine_as_test(ClientMachine, settings=settings(examples(12), stateful_step_count=25))
