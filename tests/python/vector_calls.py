"""The calls that a case of tests/vectors stands for (see its README)."""

from __future__ import annotations

import collections
import datetime
import decimal
from collections.abc import Iterator, Mapping
from typing import Any

import intilery

# The arguments' names on the wire and in Python. A name that is the last part of a path keeps the wire's form.
NAMES = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "messageId": "message_id",
    "assetId": "asset_id",
    "journeyId": "journey_id",
    "stepId": "step_id",
}


class Pairs(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, entries: list[tuple[str, Any]]) -> None:
        self._entries = collections.OrderedDict(entries)

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def special(given: dict[str, Any]) -> Any:
    kind = given["$"]
    if kind in ("nan", "infinity", "-infinity"):
        return float(kind)
    if kind == "integer":
        return int(given["text"])
    if kind == "decimal":
        return decimal.Decimal(given["text"])
    if kind == "double":
        return float(given["text"])
    if kind == "instant":
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return epoch + datetime.timedelta(milliseconds=given["ms"])
    if kind == "naive":
        return datetime.datetime.fromisoformat(given["text"])
    if kind == "map":
        return Pairs([(key, value_of(value)) for key, value in given["entries"]])
    if kind == "cycle":
        cycle: dict[str, Any] = {}
        cycle["self"] = cycle
        return cycle
    if kind == "nested":
        nested: list[Any] = []
        for _ in range(given["levels"] - 1):
            nested = [nested]
        return nested
    if kind == "text":
        return given["repeat"] * given["times"]
    return {
        "set": {1},
        "bytes": b"x",
        "function": lambda: None,
        "int_key": {1: "x"},
        "surrogate": "\ud800",
    }[kind]


def value_of(given: Any) -> Any:
    if isinstance(given, dict):
        if "$" in given:
            return special(given)
        return {key: value_of(value) for key, value in given.items()}
    if isinstance(given, list):
        return [value_of(value) for value in given]
    return given


def call(client: intilery.Client, case: dict[str, Any]) -> intilery.Delivery:
    arguments = {NAMES.get(name, name): value_of(value) for name, value in case["args"].items()}
    delivery: intilery.Delivery = getattr(client, case["call"])(**arguments)
    return delivery
