"""Segment's Python client (`segment.analytics`), as far as a program sees it, on Intilery's.

    import intilery.compat.segment as analytics  # was: import segment.analytics as analytics

    analytics.write_key = "hea/hea/HEA:token"  # CLIENT/ACCOUNT/BRAND:TOKEN
    analytics.track("ABC/123", "Order Completed", {"revenue": 30.5})

docs/migration.md says what differs.
"""

from __future__ import annotations

import logging
import numbers
import os
import re
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from inspect import signature
from typing import Any, Callable, Union

from .. import __version__ as __version__
from .._client import Client as _IntileryClient
from .._errors import ClosedError, ConfigurationError, IntileryError, QueueFullError, ValidationError
from .._results import Receipt

_Id = Union[str, int, float]
_Message = dict[str, Any]
_OnError = Callable[[IntileryError, list[_Message]], object]

_log = logging.getLogger("intilery")
_SEGMENTS_OWN = re.compile(r"(^|[/.])segment(apis)?\.(io|com)(?=[:/]|$)")

# Options of Segment's that mean nothing here, and why.
_MEANINGLESS = {
    "max_queue_size": "the queue is bounded in bytes: INTILERY_MAX_QUEUE_BYTES, or the option max_queue_bytes",
    "gzip": "the API takes no compressed requests",
    "thread": "one thread of the client's own sends, over several connections: max_connections",
    "max_rate_limit_duration": "no event is given up because it waits for its turn at the account's pace",
    "oauth_client_id": "the API knows no OAuth; the key holds the token",
    "oauth_client_key": "as oauth_client_id",
    "oauth_key_id": "as oauth_client_id",
    "oauth_auth_server": "as oauth_client_id",
    "oauth_scope": "as oauth_client_id",
}
_warned: set[str] = set()


def _warn_once(what: str, why: str) -> None:
    if what not in _warned:
        _warned.add(what)
        _log.warning("intilery.compat.segment: %s: %s", what, why)


def _account(key: str | None) -> dict[str, str]:
    """What a key says: CLIENT/ACCOUNT/BRAND:TOKEN, or the token alone."""
    if key is None:
        return {}
    where, _, token = key.partition(":") if isinstance(key, str) else ("", "", "")
    ids = where.split("/")
    if token and len(ids) == 3 and all(ids):
        return dict(zip(("client_id", "account_id", "brand_id"), ids), auth_token=token)
    return {"auth_token": key}


def _plain(value: Any) -> Any:
    """Converts what Segment's client converts and Intilery's refuses."""
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, bytes):
        return value.decode()
    raise ValidationError(
        f"a value is a {type(value).__name__}, which has no JSON form: convert it, or give the option default",
        code="unsupported_type",
    )


def _id(value: object) -> object:
    return str(value) if isinstance(value, numbers.Number) else value or None


def _moment(timestamp: datetime | str | None) -> str:
    """Segment's reading of a naive time: local if it is about now, or else UTC."""
    if timestamp is None:
        timestamp = datetime.now(timezone.utc)
    if not isinstance(timestamp, datetime):
        return timestamp
    if timestamp.utcoffset() is None:
        timestamp = timestamp.replace(tzinfo=None)
        is_now = datetime.now() - timestamp < timedelta(seconds=5)
        timestamp = timestamp.astimezone() if is_now else timestamp.replace(tzinfo=timezone.utc)
    return timestamp.isoformat(timespec="milliseconds")


class Client:
    """Segment's `Client`: its arguments, in its order, and any of Intilery's options by name.

    What neither the arguments nor `options` say comes from the environment (`INTILERY_ENDPOINT` and so on).

    Args:
        write_key: CLIENT/ACCOUNT/BRAND:TOKEN; or the token, with the ids in the environment; or None: all of it there.
        host: The `endpoint`. Segment's own addresses are ignored.
        debug: Also shows the log, if nothing else does.
        send: False: as `dry_run`.
        on_error: Called as `on_error(error, [message])` with each event that failed.
        max_retries, timeout, upload_size, upload_interval, max_total_backoff_duration: `max_retries`,
            `request_timeout`, `flush_at`, `flush_interval` and `delivery_timeout`.
        sync_mode: Each call waits for its event's fate, and raises if that is bad.
        proxies: As requests has it.
        log_handler: Added to the logger "intilery".
        **options: See `intilery.Options`.

    Raises:
        ConfigurationError: An option is missing or makes no sense.
    """

    log = _log

    def __init__(
        self,
        write_key: str | None = None,
        host: str | None = None,
        debug: bool = False,
        max_queue_size: int | None = None,
        send: bool = True,
        on_error: _OnError | None = None,
        gzip: bool = False,
        max_retries: int | None = None,
        sync_mode: bool = False,
        timeout: float | None = None,
        proxies: Mapping[str, str] | None = None,
        thread: int | None = None,
        upload_size: int | None = None,
        upload_interval: float | None = None,
        log_handler: logging.Handler | None = None,
        oauth_client_id: str | None = None,
        oauth_client_key: str | None = None,
        oauth_key_id: str | None = None,
        oauth_auth_server: str | None = None,
        oauth_scope: str | None = None,
        max_total_backoff_duration: float | None = None,
        max_rate_limit_duration: float | None = None,
        **options: Any,
    ) -> None:
        given = locals()
        for name, why in _MEANINGLESS.items():
            if given[name]:
                _warn_once(f"{name} is ignored", why)
        if host and _SEGMENTS_OWN.search(host):
            _warn_once("host is ignored", "it is Segment's; INTILERY_ENDPOINT, or the option endpoint, names another")
            host = None
        mapped = {
            "endpoint": host or None,
            "request_timeout": timeout,
            "max_retries": max_retries,
            "flush_at": upload_size,
            "flush_interval": upload_interval,
            "delivery_timeout": max_total_backoff_duration,
            "debug": debug or None,
            "dry_run": None if send else True,
            "default": _plain,
        }
        if proxies:
            scheme = (options.get("endpoint") or host or os.environ.get("INTILERY_ENDPOINT") or "https:").split(":")[0]
            mapped["proxy"] = proxies.get(scheme, proxies.get("all"))
        # Segment's interface has these, and its programs rely on them.
        for name, value in (("allow_anonymous", True), ("on_full", "raise")):
            if f"INTILERY_{name.upper()}" not in os.environ:
                mapped[name] = value
        known = {name: value for name, value in mapped.items() if value is not None}
        try:
            self._client = _IntileryClient.from_env(**{**_account(write_key), **known, **options})
        except ConfigurationError as error:
            if error.code != "required":
                raise
            raise ConfigurationError(
                f"{error.option} is missing: write_key must be CLIENT/ACCOUNT/BRAND:TOKEN, or the token with the rest "
                "in INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID and INTILERY_BRAND_ID",
                code="required",
                option="write_key",
            ) from None
        self.on_error = on_error
        self.sync_mode = sync_mode
        if log_handler is not None:
            _log.addHandler(log_handler)
        if debug:
            _log.setLevel(logging.DEBUG)
            if not _log.hasHandlers():
                _log.addHandler(logging.StreamHandler())

    def identify(
        self,
        user_id: _Id | None = None,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: _Id | None = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> tuple[bool, _Message]:
        """Says who a user is.

        Returns:
            Whether the event was accepted, and the message. False: the queue is full, or the client was shut down.

        Raises:
            ValidationError: A mistake in the call.
            IntileryError: With `sync_mode`: why it failed.
        """
        body = {"traits": traits or {}}
        return self._enqueue("identify", user_id, anonymous_id, body, context, timestamp, integrations, message_id)

    def track(
        self,
        user_id: _Id | None = None,
        event: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: _Id | None = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> tuple[bool, _Message]:
        """Says what a user did. The rest as for `identify`."""
        body = {"event": event, "properties": properties or {}}
        return self._enqueue("track", user_id, anonymous_id, body, context, timestamp, integrations, message_id)

    def page(
        self,
        user_id: _Id | None = None,
        category: str | None = None,
        name: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: _Id | None = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> tuple[bool, _Message]:
        """Says which page was seen; `category` and `name` become properties. The rest as for `identify`."""
        body = {"properties": _with(properties, category=category, name=name)}
        return self._enqueue("page", user_id, anonymous_id, body, context, timestamp, integrations, message_id)

    def screen(
        self,
        user_id: _Id | None = None,
        category: str | None = None,
        name: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: _Id | None = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> tuple[bool, _Message]:
        """Says which screen of an app was seen; `category` becomes a property. The rest as for `identify`."""
        body = {"name": name or None, "properties": _with(properties, category=category)}
        return self._enqueue("screen", user_id, anonymous_id, body, context, timestamp, integrations, message_id)

    def alias(
        self,
        previous_id: _Id | None = None,
        user_id: _Id | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | None = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> tuple[bool, _Message]:
        """Says that a visitor, `previous_id`, is this user: an identify with both. The rest as for `identify`."""
        if _id(previous_id) is None or _id(user_id) is None:
            name = "previous_id" if _id(previous_id) is None else "user_id"
            raise ValidationError(f"{name} is required by alias", code="required", path=name)
        _warn_once(
            "alias is sent as identify, previous_id as its anonymousId",
            "so Intilery links a visitor to a user; it does not merge two users",
        )
        return self._enqueue(
            "identify", user_id, previous_id, {"traits": {}}, context, timestamp, integrations, message_id
        )

    def group(self, *_: object, **__: object) -> tuple[bool, _Message]:
        """Intilery has no groups.

        Raises:
            ValidationError: Always; says what to do instead.
        """
        raise ValidationError(
            "Intilery has no groups, so nothing was sent: give each event of a group's member "
            "context={'groupId': …}, and put what is known of the group into the user's traits with identify",
            code="unsupported_call",
            path="group",
        )

    def _enqueue(
        self,
        action: str,
        user_id: _Id | None,
        anonymous_id: _Id | None,
        body: _Message,
        context: Mapping[str, Any] | None,
        timestamp: datetime | None,
        integrations: Mapping[str, Any] | None,
        message_id: object,
    ) -> tuple[bool, _Message]:
        if integrations:
            _warn_once("integrations are ignored", "events go to Intilery alone")
        fields = {
            "userId": _id(user_id),
            "anonymousId": _id(anonymous_id),
            **body,
            "context": context or None,
            "timestamp": _moment(timestamp),
            "messageId": None if message_id is None else str(message_id),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        message = {"type": action, **fields}
        on_error = self.on_error

        def told(receipt: Receipt) -> None:
            message["messageId"] = receipt.message_id
            if receipt.error is not None and on_error is not None:
                on_error(receipt.error, [message])

        try:
            observed = on_error is not None and not self.sync_mode
            delivery = self._client.send({"action": action, **fields}, on_delivery=told if observed else None)
        except (QueueFullError, ClosedError) as error:
            if on_error is not None:
                on_error(error, [message])
            else:
                _log.warning("1 event was not accepted (%s): %s", error.code, error)
            return False, message
        message["messageId"] = delivery.message_id
        if self.sync_mode:
            delivery.result()
        return True, message

    def flush(self) -> None:
        """Waits until every event has its fate."""
        self._client.flush()

    def join(self) -> None:
        """As `shutdown`."""
        self._client.close()

    def shutdown(self) -> None:
        """Waits until every event has its fate, and ends the client."""
        self._client.close()


def _with(properties: Mapping[str, Any] | None, **more: str | None) -> _Message:
    return {**(properties or {}), **{name: value for name, value in more.items() if value}}


VERSION = __version__

# The module's own client, made at the first call from these settings.

write_key: str | None = None
host: str | None = None
on_error: _OnError | None = None
debug = False
log_handler: logging.Handler | None = None
send = True
sync_mode = False
max_queue_size: int | None = None
gzip = False
timeout: float | None = None
max_retries: int | None = None
oauth_client_id: str | None = None
oauth_client_key: str | None = None
oauth_key_id: str | None = None
oauth_auth_server: str | None = None
oauth_scope: str | None = None

default_client: Client | None = None
_making = threading.Lock()


def _default() -> Client:
    global default_client
    with _making:
        if default_client is None:
            settings = globals()
            names = signature(Client).parameters
            default_client = Client(**{name: settings[name] for name in names if name in settings})
        return default_client


def track(*args: Any, **kwargs: Any) -> tuple[bool, _Message]:
    """`Client.track` of the module's client; so are the others."""
    return _default().track(*args, **kwargs)


def identify(*args: Any, **kwargs: Any) -> tuple[bool, _Message]:
    return _default().identify(*args, **kwargs)


def page(*args: Any, **kwargs: Any) -> tuple[bool, _Message]:
    return _default().page(*args, **kwargs)


def screen(*args: Any, **kwargs: Any) -> tuple[bool, _Message]:
    return _default().screen(*args, **kwargs)


def alias(*args: Any, **kwargs: Any) -> tuple[bool, _Message]:
    return _default().alias(*args, **kwargs)


def group(*args: Any, **kwargs: Any) -> tuple[bool, _Message]:
    return _default().group(*args, **kwargs)


def flush() -> None:
    _default().flush()


def join() -> None:
    _default().join()


def shutdown() -> None:
    _default().shutdown()
