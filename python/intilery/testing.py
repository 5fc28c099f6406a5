"""A stand-in for the Intilery service, for tests.

```python
from intilery.testing import Sandbox

with Sandbox() as sandbox, sandbox.client() as client:
    client.track("u", "Login").result(timeout=5)
    assert sandbox.events()[0]["rawData"]["event"] == "Login"
```
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import _sandbox
from ._client import AsyncClient, Client

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import Options


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
