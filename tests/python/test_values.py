"""What Python's own values become. Those that all languages have are in tests/vectors."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import subprocess
import sys
import uuid
from typing import Any, NamedTuple

import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intilery import Client, ValidationError
from intilery.testing import Sandbox


class Colour(enum.Enum):
    red = "r"


class Level(enum.IntEnum):
    high = 3


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Product:
    name: str
    price: decimal.Decimal


class Text(str):
    """A str of somebody's own."""


def sent(value: Any, **options: Any) -> Any:
    with Sandbox() as sandbox, sandbox.client(**options) as client:
        client.track("u", "E", {"v": value}).result(timeout=5)
        return sandbox.events()[0]["rawData"]["properties"]["v"]


UTC = datetime.timezone.utc


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime.datetime(2019, 11, 18, 13, 30, 11, 444999, UTC), "2019-11-18T13:30:11.444Z"),
        (datetime.datetime(2019, 11, 18, 13, 30, 11, 444999), "2019-11-18T13:30:11.444999"),
        (datetime.date(2019, 11, 18), "2019-11-18"),
        (datetime.time(13, 30), "13:30:00"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Colour.red, "r"),
        (Level.high, 3),
        (pathlib.PurePosixPath("/tmp/x"), "/tmp/x"),
        (Point(1, 2), [1, 2]),
        (Product("a", decimal.Decimal("1.50")), {"name": "a", "price": 1.5}),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (Text("x"), "x"),
        (numpy.int64(5), 5),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.str_("x"), "x"),
        (numpy.datetime64("2019-11-18T13:30:11"), "2019-11-18T13:30:11"),
        (numpy.datetime64("NaT", "ns"), None),
        (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pandas.Timestamp("2019-11-18T13:30:11Z"), "2019-11-18T13:30:11.000Z"),
        (pandas.NaT, None),
        (pandas.NA, None),
    ],
)
def test_a_value_becomes(value: Any, expected: Any) -> None:
    assert sent(value) == expected


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({1, 2}, "unsupported_type"),
        (frozenset(), "unsupported_type"),
        (b"x", "unsupported_type"),
        (bytearray(b"x"), "unsupported_type"),
        (object(), "unsupported_type"),
        (sent, "unsupported_type"),
        (Product, "unsupported_type"),
        (datetime.timedelta(1), "unsupported_type"),
        (1j, "unsupported_type"),
        (decimal.Decimal("NaN"), "not_finite"),
        (decimal.Decimal("-Infinity"), "not_finite"),
        (numpy.float64("inf"), "not_finite"),
        (numpy.array([1.0, float("nan")]), "not_finite"),
        ({None: 1}, "invalid_key"),
        (datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-1))), None),
    ],
)
def test_a_value_that_cannot_travel_is_refused(value: Any, code: str | None) -> None:
    if code is None:
        assert sent(value) == "0001-01-01T01:00:00.000Z"
        return
    with pytest.raises(ValidationError) as caught:
        sent(value)
    assert caught.value.code == code
    assert caught.value.path.startswith("properties.v")


def test_default_converts_what_has_no_json_form() -> None:
    assert sent({"s": {3}}, default=sorted) == {"s": [3]}


def test_what_default_raises_reaches_the_caller() -> None:
    def refuse(value: Any) -> Any:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        sent({1}, default=refuse)


@pytest.mark.parametrize(
    ("default", "code"),
    [(lambda value: {"again": value}, "cycle"), (lambda value: {"again": {2}}, "too_deep")],
)
def test_a_default_without_end_is_refused(default: Any, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        sent({1}, default=default)
    assert caught.value.code == code


def test_default_may_call_the_client_again(sandbox: Sandbox) -> None:
    clients: list[Client] = []

    def note(value: Any) -> str:
        clients[0].track("u", "Converted")
        return "x"

    with sandbox.client(default=note) as client:
        clients.append(client)
        client.track("u", "E", {"v": {1}})
    assert [event["rawData"]["event"] for event in sandbox.events()] == ["Converted", "E"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


def as_javascript_does(digits: str) -> float:
    """A float of 17 digits is written like an int (RFC 8785)."""
    return int(digits) if abs(int(digits)) <= 2**53 else float(digits)


def test_any_json_value_arrives_as_it_was() -> None:
    with Sandbox(rate_limit=0) as sandbox, sandbox.client(delivery="event") as client:

        @settings(max_examples=200, deadline=None)
        @given(json_values)
        def check(value: Any) -> None:
            sandbox.clear()
            client.track("u", "E", {"v": value}).result(timeout=5)
            body = sandbox.requests()[0].body
            assert json.loads(body, parse_int=as_javascript_does)["properties"]["v"] == value

        check()


WITHOUT_MEMORY = """
import resource
from intilery import Client, IntileryError

text = "é" * 50_000_000  # whose UTF-8 takes 100 MB
client = Client(client_id="hea", account_id="hea", brand_id="HEA", auth_token="t", dry_run=True)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (used + 20_000_000, hard))
try:
    client.track("u", "E", {"v": text})
except (MemoryError, IntileryError) as error:
    print(type(error).__name__)
"""


def test_a_value_that_memory_has_no_room_for_is_no_mistake_in_the_call() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, check=True)
    assert ended.stdout == "MemoryError\n"
