"""A stand-in for the Intilery service, and clients whose events end in memory: for tests.

```python
from intilery.testing import Sandbox

with Sandbox() as sandbox, sandbox.client() as client:
    client.track("u", "Login").result(timeout=5)
    sandbox.expect("Login", user_id="u")
```

With pytest there are fixtures: see `pytest_intilery`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from . import _native
from ._client import AsyncClient, Client, _Base

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import Options

    class Expected(TypedDict, total=False):
        """Members that an event must have."""

        user_id: str
        anonymous_id: str
        brand_id: str
        action: Literal["identify", "track", "page", "screen"]
        traits: Mapping[str, Any]
        properties: Mapping[str, Any]
        context: Mapping[str, Any]
        fields: Mapping[str, Any]


_wire_names = {"user_id": "userId", "anonymous_id": "anonymousId", "brand_id": "brandId"}


def _message(event: str | None, expected: Expected) -> str:
    """The members as the core takes them."""
    members: dict[str, Any] = dict(expected)
    message = {_wire_names.get(name, name): value for name, value in members.items() if name != "fields"}
    if unknown := message.keys() - {*_wire_names.values(), "action", "traits", "properties", "context"}:
        name = min(unknown)
        hint = _native.did_you_mean(name, ["user_id", "anonymous_id", "brand_id", "traits", "properties", "fields"])
        raise TypeError(f"no member {name!r} can be expected{hint}; a field of another name goes in fields={{...}}")
    message.update(members.get("fields", {}))
    if event is not None:
        message["event"] = event
    return _native.json_text(message)


def _met(arrival: tuple[str, str]) -> Any:
    """The event that was expected."""
    __tracebackhide__ = True  # so that pytest shows the caller's line
    event, report = arrival
    if report:
        raise AssertionError(report)
    return json.loads(event) if event else None


class ReceivedRequest(NamedTuple):
    """One request as it arrived, with the answer that it got."""

    received_ms: int
    """Milliseconds since the Unix epoch."""
    method: str
    path: str
    """With the query."""
    action: str
    """Last segment of the path."""
    headers: dict[str, str]
    """Names in lower case; `auth-token` is redacted."""
    body: bytes
    status: int
    """Answered status; 0: closed without an answer."""
    answer: bytes
    events: int
    """How many events of it were stored."""


class Sandbox:
    """A real HTTP server on loopback that holds its callers to the contract, remembers what arrived, and misbehaves
    when told to. Starts at once; a context manager. Every member may be called from any thread.

    Args:
        host: Address to bind.
        port: 0: any free one.
        token: The only `auth-token` that has rights.
        client_id: In the address.
        account_id: In the address.
        brand_ids: Brands that the token has rights on.
        rate_limit: Requests a second; 0: no limit.
        burst: Requests at once.
        profile: "guide": the API guide alone. "vendor": the later documentation (screen, batch, 1 MB).
        max_request_bytes: 0: what the profile says.
        max_stored_bytes: Bound on remembered requests, and on events; the oldest go first. 0: none.
        store: A SQLite file that keeps accepted events; a sandbox that is given it again still has them.
        plan: A tracking plan, JSON or YAML: the page shows which events break it.
        visible_after: Seconds from an event's arrival until it can be read back (`events` has it at once).
        faults: See `set_faults`.

    Raises:
        ValueError: An option or a fault makes no sense.
        RuntimeError: The address cannot be bound, or the store cannot be used.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "sandbox-token",
        client_id: str = "hea",
        account_id: str = "hea",
        brand_ids: Sequence[str] = ("HEA",),
        rate_limit: float = 100,
        burst: float = 500,
        profile: Literal["guide", "vendor"] = "vendor",
        max_request_bytes: int = 0,
        max_stored_bytes: int = 0,
        store: str | os.PathLike[str] = "",
        plan: str | os.PathLike[str] = "",
        visible_after: float = 0,
        faults: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._options: Options = {
            "client_id": client_id,
            "account_id": account_id,
            "brand_id": brand_ids[0],
            "auth_token": token,
            "rate_limit": rate_limit or 1e6,
            "burst": burst if rate_limit else 1e6,
        }
        from . import _sandbox  # not before: an HTTP server, of which a client in memory has no need

        self._sandbox = _sandbox.Sandbox(
            host=host,
            port=port,
            token=token,
            client_id=client_id,
            account_id=account_id,
            brand_ids=list(brand_ids),
            rate_limit=rate_limit,
            burst=burst,
            profile=profile,
            max_request_bytes=max_request_bytes,
            max_stored_bytes=max_stored_bytes,
            store=os.fspath(store),
            plan=os.fspath(plan),
            visible_after=visible_after,
            faults=json.dumps(list(faults)) if faults else "",
        )

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, a client's `endpoint`."""
        return self._sandbox.url()

    @property
    def port(self) -> int:
        return self._sandbox.port()

    def client(self, **options: Unpack[Options]) -> Client:
        """A client of this sandbox; `options` go over the ones that it needs."""
        return Client(**self._client_options(options))

    def async_client(self, **options: Unpack[Options]) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(**self._client_options(options))

    def environment(self) -> dict[str, str]:
        """The variables (`INTILERY_ENDPOINT` and so on) that bring `Client.from_env()` to this sandbox."""
        return {f"INTILERY_{name.upper()}": str(value) for name, value in self._client_options({}).items()}

    def _client_options(self, options: Options) -> Options:
        merged: Options = {**self._options, "endpoint": self.url}
        merged.update(options)
        return merged

    def requests(self) -> list[ReceivedRequest]:
        """What arrived so far, oldest first."""
        return [ReceivedRequest(*request) for request in self._sandbox.requests()]

    def events(self) -> list[dict[str, Any]]:
        """Stored events in the order of their arrival, as the read API has them."""
        events: list[dict[str, Any]] = json.loads(self._sandbox.events_json())
        return events

    def expect(self, event: str | None = None, *, timeout: float = 5, **expected: Unpack[Expected]) -> dict[str, Any]:
        """Waits for an event, and returns it as `events` has it; of several, the oldest.

        `event` is its name; an identify's, a page's or a screen's is its action. Of `traits`, `properties`, `context`
        and objects in them, the members that are given must be there; others may be. An array must be as long. A number
        is compared by its value. `fields` are further members by their names on the wire, such as `assetId`.

        Raises:
            AssertionError: There is none within `timeout`. It lists what arrived, and in what the nearest differs.
        """
        __tracebackhide__ = True
        found: dict[str, Any] = _met(self._sandbox.expect(_message(event, expected), timeout))
        return found

    def expect_none(self, event: str | None = None, **expected: Unpack[Expected]) -> None:
        """Sees to it that no such event has arrived. It does not wait: flush the client first.

        Raises:
            AssertionError: One has. It lists them.
        """
        __tracebackhide__ = True
        _met(self._sandbox.expect_none(_message(event, expected)))

    def matching(self, event: str | None = None, **expected: Unpack[Expected]) -> list[dict[str, Any]]:
        """Those of `events` that `expect` would take; for their number. It does not wait."""
        events: list[dict[str, Any]] = json.loads(self._sandbox.matching_json(_message(event, expected)))
        return events

    def event_count(self) -> int:
        """Number of stored events; cheap."""
        return self._sandbox.event_count()

    def stats(self) -> dict[str, Any]:
        """Counters: `requests` (by status), `events`, `bytes`, `bucket_level`."""
        stats: dict[str, Any] = json.loads(self._sandbox.stats_json())
        return stats

    def clear(self) -> None:
        """Forgets everything that was received and refills the bucket."""
        self._sandbox.clear()

    def set_faults(self, *rules: Mapping[str, Any]) -> None:
        """Replaces the fault script: rules, tried in order for each POST; the first that applies is used. A rule with
        the `action` "events" or "profiles" applies to reading.

        Members that say which requests: `action`, `user_id`, `after` (skip so many), `times` (apply so often),
        `probability` and `seed`.

        The answer: `status`, storing nothing (with `body`, `headers`; with `garbage=True` the body is no text). Without
        it the real one, and events are stored. How it travels: `delay_ms` (wait before it), `drip_ms` (wait between its
        bytes), `content_length` (declare this instead of the true one), `truncate` (close after so many bytes of the
        body), `oversized` (so many bytes more in the body).

        No answer: `close` ("before", "during" the answer; "reset_before", "reset_during", "reset_after": a TCP reset
        before the request's body is read, amid it, or behind it; the first two come before all other rules and know no
        `user_id`), `garbage` (bytes that are no HTTP), `hang` (neither an answer nor a close) and `lost_ack` (store the
        events, then close without an answer).

        Raises:
            ValueError: Names the rule and the member that is wrong.
        """
        self._sandbox.set_faults(json.dumps(list(rules)))

    def set_token(self, token: str) -> None:
        """Replaces the token that has rights."""
        self._sandbox.set_token(token)

    def stop(self) -> None:
        """Stops serving; what was received stays readable. May be called more than once."""
        self._sandbox.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _InMemory(_Base):
    """What the clients in memory have in common."""

    def _open(self, options: Options, *, from_env: bool) -> None:
        self._outbox = self._kept = _native.Outbox()
        super()._open(options, from_env=from_env)

    @property
    def sent(self) -> list[dict[str, Any]]:
        """What was delivered, oldest first: messages as they went over the wire, with their `action`. Flush first."""
        sent: list[dict[str, Any]] = json.loads(self._kept.sent_json())
        return sent

    def answer(self, status: int, *, times: int | None = None, body: str = "") -> None:
        """Has every request from now on, or the next `times`, answered with this HTTP status; 0: no server is reached.

        Args:
            status: 200 to 599, or 0.
            times: How often; afterwards it is success again.
            body: One that the service would give, if empty.

        Raises:
            ValueError: There is no such status.
        """
        self._kept.answer(status, times, body)

    def clear(self) -> None:
        """Forgets what was delivered, and answers with success again."""
        self._kept.clear()

    def matching(self, event: str | None = None, **expected: Unpack[Expected]) -> list[dict[str, Any]]:
        """Those of `sent` that `expect` would take."""
        matching: list[dict[str, Any]] = json.loads(self._kept.matching_json(_message(event, expected)))
        return matching


class MemoryClient(_InMemory, Client):
    """A client for unit tests: its events are checked, serialised, queued and delivered as always, but end in a list
    instead of the network. Every request is answered at once.

    It needs no options; any may be given.
    """

    def expect(self, event: str | None = None, *, timeout: float = 5, **expected: Unpack[Expected]) -> dict[str, Any]:
        """Flushes, and returns the message; else as `Sandbox.expect`."""
        __tracebackhide__ = True
        self.flush(timeout)
        found: dict[str, Any] = _met(self._kept.expect(_message(event, expected)))
        return found

    def expect_none(self, event: str | None = None, *, timeout: float = 5, **expected: Unpack[Expected]) -> None:
        """Flushes; then as `Sandbox.expect_none`."""
        __tracebackhide__ = True
        self.flush(timeout)
        _met(self._kept.expect_none(_message(event, expected)))


class AsyncMemoryClient(_InMemory, AsyncClient):
    """The same for asyncio."""

    async def expect(
        self, event: str | None = None, *, timeout: float = 5, **expected: Unpack[Expected]
    ) -> dict[str, Any]:
        """Flushes, and returns the message; else as `Sandbox.expect`."""
        __tracebackhide__ = True
        await self.flush(timeout)
        found: dict[str, Any] = _met(self._kept.expect(_message(event, expected)))
        return found

    async def expect_none(self, event: str | None = None, *, timeout: float = 5, **expected: Unpack[Expected]) -> None:
        """Flushes; then as `Sandbox.expect_none`."""
        __tracebackhide__ = True
        await self.flush(timeout)
        _met(self._kept.expect_none(_message(event, expected)))
