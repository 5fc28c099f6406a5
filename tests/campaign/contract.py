"""What the wire contract asks of a request's body. Written from the contract alone; shares nothing with the clients."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

MAX_ITEM_BYTES = 32_000  # "32 KB", in its smaller reading
ACTIONS = ("identify", "track", "page", "screen")
ASSET_COMMANDS = ("send_email", "send_sms", "send_print", "send_push")
COMMANDS = (*ASSET_COMMANDS, "start_journey")
# fmt: off
CONTEXT_KEYS = frozenset((
    "active", "app", "campaign", "device", "ip", "library", "locale", "location", "network", "os", "page", "referrer",
    "screen", "timezone", "groupId", "traits", "userAgent",
))
# fmt: on
CHANNELS = ("email", "sms", "whatsapp", "facebook", "push")
COMMON_FIELDS = frozenset(("userId", "anonymousId", "event", "context", "timestamp", "messageId", "sentAt"))
FIELDS = {
    "identify": COMMON_FIELDS | {"traits"},
    "track": COMMON_FIELDS | {"properties"},
    "page": COMMON_FIELDS | {"properties"},
    "screen": COMMON_FIELDS | {"properties", "name"},
}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)


class Breach(Exception):
    """A request that the contract does not allow."""


class Message(NamedTuple):
    """One event of a request."""

    action: str
    command: bool
    user: str
    id: str
    digest: int
    """Of all that it holds apart from `sentAt`: equal for equal content, alone or in a batch."""
    fields: dict[str, Any]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Breach("a key twice in one object")
    return members


def _no_constant(name: str) -> None:
    raise Breach(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_members, parse_constant=_no_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)


def _text(message: dict[str, Any], field: str) -> str:
    value = message.get(field)
    if not isinstance(value, str) or not value:
        raise Breach(f"{field} must be text, and not empty")
    return value


def _object(message: dict[str, Any], field: str) -> dict[str, Any]:
    value = message.get(field)
    if not isinstance(value, dict):
        raise Breach(f"{field} must be an object")
    return value


def _check_time(message: dict[str, Any], field: str) -> None:
    value = _text(message, field)
    if not TIMESTAMP.fullmatch(value):
        raise Breach(f"{field} must be ISO-8601 UTC with milliseconds and Z")
    try:
        datetime.fromisoformat(value[:-1])
    except ValueError:
        raise Breach(f"{field} is no moment") from None


def _check_context(message: dict[str, Any]) -> None:
    if "context" not in message:
        return
    context = _object(message, "context")
    if not CONTEXT_KEYS.issuperset(context):
        raise Breach("context has a key that is not known")
    if "library" in context:
        library = _object(context, "library")
        for key in ("name", "version"):
            _text(library, key)


def _check_preferences(traits: dict[str, Any]) -> None:
    if traits.get("marketingPreferences") is None:
        return
    channels = _object(traits, "marketingPreferences").get("channels")
    if not isinstance(channels, list):
        raise Breach("marketingPreferences.channels must be an array")
    for channel in channels:
        if not isinstance(channel, dict) or channel.get("channel") not in CHANNELS:
            raise Breach("marketingPreferences has a channel that is not known")
        if not isinstance(channel.get("subscribed"), bool):
            raise Breach("marketingPreferences: subscribed must be true or false")


def _check_event(action: str, fields: dict[str, Any]) -> Message:
    """Checks one event. `fields` is the whole of it, a batch's context merged in."""
    users = [_text(fields, field) for field in ("userId", "anonymousId") if field in fields]
    if not users or ("userId" not in fields and action in ("identify", "track")):
        raise Breach("userId must not be empty")
    event = _text(fields, "event") if action != "screen" or "event" in fields else "screen"
    if action != "track" and event != action:
        raise Breach(f"event must be {action}")
    name = event.lower()
    command = action == "track" and name in COMMANDS
    if command:
        _text(fields, "userId")
        if name in ASSET_COMMANDS:
            _text(fields, "assetId")
        else:
            _text(_object(fields, "properties"), "journeyIdToTrigger")
    elif not FIELDS[action].issuperset(fields):
        raise Breach(f"{action} has a field that the contract does not know")
    if action == "identify":
        _check_preferences(_object(fields, "traits"))
    elif "properties" in fields:
        _object(fields, "properties")
    if "name" in fields and action == "screen":
        _text(fields, "name")
    _check_context(fields)
    _check_time(fields, "timestamp")
    if "sentAt" in fields:
        _check_time(fields, "sentAt")
    message_id = _text(fields, "messageId")  # optional to the vendor, but duplicates cannot be told without it

    content = {**fields, "event": event}
    content.pop("sentAt", None)
    try:
        text = _encoder.encode(content).encode()
    except UnicodeEncodeError:
        raise Breach("half of a surrogate pair") from None
    digest = int.from_bytes(hashlib.blake2b(action.encode() + text, digest_size=8).digest(), "big")
    return Message(action, command, users[0], message_id, digest, fields)


def _check_batch(body: dict[str, Any], size: int) -> Iterable[Message]:
    if not {"batch", "context"}.issuperset(body):
        raise Breach("batch has a field that the contract does not know")
    items = body.get("batch")
    if not isinstance(items, list) or not items:
        raise Breach("batch must be an array, and not empty")
    _check_context(body)
    context = body.get("context")
    for item in items:
        if not isinstance(item, dict):
            raise Breach("an item of a batch must be an object")
        if size > MAX_ITEM_BYTES and len(_encoder.encode(item).encode(errors="replace")) > MAX_ITEM_BYTES:
            raise Breach("an item of a batch has over 32 KB")
        event = _text(item, "event")
        if context:
            item["context"] = {**context, **_object({"context": {}, **item}, "context")}
        yield _check_event(event if event in ACTIONS else "track", item)


def read(action: str, body: bytes) -> list[Message]:
    """The events of a request.

    Raises:
        Breach: The request breaks the contract; says where.
    """
    try:
        text = body.decode()
        value = _decoder.decode(text)
    except UnicodeDecodeError:
        raise Breach("the body is not UTF-8") from None
    except ValueError:
        raise Breach("the body is not JSON") from None
    if not isinstance(value, dict):
        raise Breach("the body must be one JSON object")
    return list(_check_batch(value, len(body))) if action == "batch" else [_check_event(action, value)]
