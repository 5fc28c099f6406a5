"""Tracking plans as documents: what real events look like, and what a change means. The core checks events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from . import _native

COMMANDS = ("send_email", "send_sms", "send_print", "send_push", "start_journey")

_Schema = dict[str, Any]


class Problem(NamedTuple):
    """What is wrong with a plan, and where."""

    fatal: bool
    """A plan with it is not loaded."""
    code: str
    line: int
    """From 1; 0: of the whole file."""
    pointer: str
    message: str


def read(path: str) -> tuple[dict[str, Any] | None, list[Problem]]:
    """A plan's document, unless something is fatally wrong with it; and all that is wrong."""
    text, problems = _native.read_plan(path)
    found = [Problem(*problem) for problem in problems]
    if text is None or any(problem.fatal for problem in found):
        return None, found
    return json.loads(text, parse_float=Decimal), found


# What real events look like.


class _Seen:
    """The values that stood in one place."""

    def __init__(self) -> None:
        self.count = 0
        self.types: set[str] = set()
        self.objects = 0
        self.members: dict[str, _Seen] = {}
        self.items: _Seen | None = None

    def add(self, value: Any) -> None:
        self.count += 1
        self.types.add(_type_of(value))
        if isinstance(value, Mapping):
            self.objects += 1
            for key, member in value.items():
                self.members.setdefault(key, _Seen()).add(member)
        elif isinstance(value, list):
            self.items = self.items or _Seen()
            for item in value:
                self.items.add(item)

    def schema(self) -> _Schema:
        types = self.types - {"integer"} if "number" in self.types else self.types
        ordered = sorted(types, key=lambda name: (name == "null", name))
        schema: _Schema = {"type": ordered[0] if len(ordered) == 1 else ordered} if ordered else {}
        required = [name for name, seen in self.members.items() if seen.count == self.objects]
        if required:
            schema["required"] = required
        if self.members:
            schema["properties"] = {name: seen.schema() for name, seen in self.members.items()}
        if self.items is not None and self.items.count:
            schema["items"] = self.items.schema()
        return schema


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float, Decimal)):
        return "integer" if value == value // 1 else "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def infer(messages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A plan that the messages fit: the types that were met, and what every event of a name had."""
    events: dict[str, _Seen] = {}
    traits = _Seen()
    for message in messages:
        if message["action"] == "identify":
            traits.add(message.get("traits") or {})
            continue
        name = message["event"] if message["action"] == "track" else message["action"]
        if name.lower() not in COMMANDS:
            events.setdefault(name, _Seen()).add(message.get("properties") or {})
    plan: dict[str, Any] = {
        "version": 1,
        "events": {name: {"properties": seen.schema()} for name, seen in events.items()},
    }
    if traits.count:
        plan["traits"] = traits.schema()
    return plan


# What a change means.


class Change(NamedTuple):
    """A difference between two plans. Breaking: events that fit the old plan may not fit the new one."""

    breaking: bool
    pointer: str
    message: str


_NO_SCHEMA: _Schema = {}
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """How two plans differ. A property that is newly described breaks nothing unless it is required."""
    return list(_diff(old, new))


def _diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = old.get("events", {}), new.get("events", {})
    for name, event in before.items():
        pointer = f"/events/{_escaped(name)}"
        if name not in after:
            yield Change(True, pointer, "the event is gone")
            continue
        yield from _Pair(old, new).schemas(
            event.get("properties", True), after[name].get("properties", True), f"{pointer}/properties"
        )
    for name in after:
        if name not in before:
            yield Change(False, f"/events/{_escaped(name)}", "the event is new")
    yield from _Pair(old, new).schemas(old.get("traits", True), new.get("traits", True), "/traits")


class _Pair:
    """Compares schemas of two plans."""

    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._old = old
        self._new = new

    def schemas(self, old: Any, new: Any, pointer: str) -> Iterator[Change]:
        if (old is False) != (new is False):
            yield Change(
                new is False, pointer, "nothing is allowed here any more" if new is False else "is allowed now"
            )
            return
        before, after = flat(old, self._old), flat(new, self._new)
        yield from _types(before, after, pointer)
        for keyword in _LOWER:
            yield from _bound(before, after, keyword, 1, pointer)
        for keyword in _UPPER:
            yield from _bound(before, after, keyword, -1, pointer)
        yield from _values(before, after, pointer)
        for keyword in ("pattern", "multipleOf", "uniqueItems"):
            was, now = before.get(keyword) or None, after.get(keyword) or None
            if was != now:
                wider = now is None or (
                    keyword == "multipleOf" and was is not None and Decimal(was) % Decimal(now) == 0
                )
                yield Change(not wider, f"{pointer}/{keyword}", f"{_text(was)} became {_text(now)}")
        was_required, now_required = before.get("required", []), after.get("required", [])
        for name in now_required:
            if name not in was_required:
                yield Change(True, f"{pointer}/required", f"{_text(name)} is required now")
        for name in was_required:
            if name not in now_required:
                yield Change(False, f"{pointer}/required", f"{_text(name)} is not required any more")
        members, others = before.get("properties", {}), after.get("properties", {})
        for name in members:
            place = f"{pointer}/properties/{_escaped(name)}"
            if name in others:
                yield from self.schemas(members[name], others[name], place)
            else:
                yield Change(False, place, "the property is not described any more")
        for name in others:
            if name not in members:
                yield Change(False, f"{pointer}/properties/{_escaped(name)}", "the property is described now")
        if "items" in before or "items" in after:
            yield from self.schemas(before.get("items", True), after.get("items", True), f"{pointer}/items")


def _types(old: _Schema, new: _Schema, pointer: str) -> Iterator[Change]:
    before, after = _type_set(old), _type_set(new)
    if before != after:
        names = [_text(schema.get("type", "any")) for schema in (old, new)]
        yield Change(not before <= after, f"{pointer}/type", f"{names[0]} became {names[1]}")


def _type_set(schema: _Schema) -> set[str]:
    given = schema.get("type", "any")
    names = {given} if isinstance(given, str) else set(given)
    every = {"null", "boolean", "integer", "fraction", "string", "array", "object"}
    return every if "any" in names else names | ({"integer", "fraction"} if "number" in names else set()) - {"number"}


def _bound(old: _Schema, new: _Schema, keyword: str, sign: int, pointer: str) -> Iterator[Change]:
    was, now = old.get(keyword), new.get(keyword)
    if was != now:
        tighter = now is not None and (was is None or sign * (now - was) > 0)
        yield Change(tighter, f"{pointer}/{keyword}", f"{_text(was)} became {_text(now)}")


def _values(old: _Schema, new: _Schema, pointer: str) -> Iterator[Change]:
    def allowed(schema: _Schema) -> set[str] | None:
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        return None if values is None else {_text(value) for value in values}

    was, now = allowed(old), allowed(new)
    if was == now:
        return
    keyword = "const" if "const" in new or "const" in old else "enum"
    if now is None:
        yield Change(False, f"{pointer}/{keyword}", "any value is allowed now")
    elif was is None:
        yield Change(True, f"{pointer}/{keyword}", "only some values are allowed now")
    else:
        for value in sorted(was - now):
            yield Change(True, f"{pointer}/{keyword}", f"{value} is not allowed any more")
        for value in sorted(now - was):
            yield Change(False, f"{pointer}/{keyword}", f"{value} is allowed now")


def flat(schema: Any, plan: Any) -> _Schema:
    """A schema with its reference's keywords among its own, which go over them."""
    if not isinstance(schema, dict):
        return _NO_SCHEMA
    target = schema.get("$ref")
    if target is None:
        return schema
    found = plan
    for part in target[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found[int(name)] if isinstance(found, list) else found[name]
    return {**flat(found, plan), **schema}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _text(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
