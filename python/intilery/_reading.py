"""What is read back. The paging is the core's: core/src/readback."""

from __future__ import annotations

import importlib
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Generic, NamedTuple, TypeVar

from . import _native

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa  # type: ignore[import-untyped]

    from ._client import AsyncClient, Client

_T = TypeVar("_T")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIMES = ("event_time", "received_time")


class Event(NamedTuple):
    """An event as the service has it."""

    event_id: str
    """The service's name for it, as in Receipt."""
    event_time: datetime | None
    """When it happened, in UTC, to the millisecond."""
    received_time: datetime | None
    action: str
    """`track` and so on."""
    name: str
    """By which `include` and `exclude` know it: the event's name, or else its action."""
    client_id: str
    account_id: str
    brand_id: str
    user_id: str | None
    raw_data: dict[str, Any]
    """What was sent, with `action`."""


class Profile(NamedTuple):
    """A customer as the service has them."""

    id: str | None
    """The service's own: `client.events(id=profile.id)`."""
    user_id: str | None
    traits: dict[str, Any]
    meta: dict[str, Any]
    """What else the service says."""


def _time(ms: int | None) -> datetime | None:
    try:
        return None if ms is None else _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:  # Python has no year 0
        return None


def _event(given: dict[str, Any]) -> Event:
    return Event(
        given["eventId"],
        _time(given["eventTime"]),
        _time(given["receivedTime"]),
        given["action"],
        given["name"],
        given["clientId"],
        given["accountId"],
        given["brandId"],
        given["userId"],
        given["rawData"],
    )


def _profile(given: dict[str, Any]) -> Profile:
    return Profile(given["id"], given["userId"], given["traits"] or {}, given["meta"] or {})


class Reading(Generic[_T]):
    """One list on its way, for any number of threads."""

    def __init__(
        self,
        client: Client | AsyncClient,
        what: str,
        make: Callable[[dict[str, Any]], _T],
        timeout: float | None,
        query: dict[str, Any],
    ) -> None:
        self._more = partial(_native.Reading(what, query).next, client, timeout)
        self._make = make
        self._lock = threading.Lock()
        self._waiting: deque[_T] = deque()
        self._ended = False

    def fill(self, given_up: Callable[[], bool] | None = None) -> None:
        """Waits until something is there to take, or there is no more."""
        with self._lock:
            if not self._waiting and not self._ended:
                more = json.loads(self._more(given_up))
                self._waiting.extend(map(self._make, more))
                self._ended = not more

    def take(self) -> _T | None:
        while True:
            try:
                return self._waiting.popleft()
            except IndexError:
                if self._ended:
                    return None
                self.fill()

    async def take_aside(self, client: AsyncClient) -> _T | None:
        # Another thread puts what comes among what waits, so that a cancelled wait loses nothing.
        while True:
            try:
                return self._waiting.popleft()
            except IndexError:
                if self._ended:
                    return None
                await client._aside(self.fill)


class _Iterator(Iterator[_T]):
    def __init__(self, reading: Reading[_T]) -> None:
        self._reading = reading

    def __next__(self) -> _T:
        found = self._reading.take()
        if found is None:
            raise StopIteration
        return found


class _AsyncIterator(AsyncIterator[_T]):
    def __init__(self, client: AsyncClient, reading: Reading[_T]) -> None:
        self._client = client
        self._reading = reading

    async def __anext__(self) -> _T:
        found = await self._reading.take_aside(self._client)
        if found is None:
            raise StopAsyncIteration
        return found


class Events(_Iterator[Event]):
    """Events, one at a time; a page of them is read whenever one is needed.

    An error ends no reading: `next()` goes on where it was. In a table `raw_data` is JSON text, since events of
    different names hold different things.
    """

    def to_pandas(self) -> pd.DataFrame:
        """All that is left, as a table.

        Raises:
            ImportError: pandas is not installed.
        """
        return _to_pandas(list(self))

    def to_polars(self) -> pl.DataFrame:
        """As `to_pandas`, for polars."""
        return _to_polars(list(self))

    def to_arrow(self) -> pa.Table:
        """As `to_pandas`, for pyarrow."""
        return _to_arrow(list(self))


class AsyncEvents(_AsyncIterator[Event]):
    """As Events, for `async for`; the tables are awaited."""

    async def to_pandas(self) -> pd.DataFrame:
        """As `Events.to_pandas`."""
        return _to_pandas([event async for event in self])

    async def to_polars(self) -> pl.DataFrame:
        """As `Events.to_polars`."""
        return _to_polars([event async for event in self])

    async def to_arrow(self) -> pa.Table:
        """As `Events.to_arrow`."""
        return _to_arrow([event async for event in self])


class Profiles(_Iterator[Profile]):
    """Profiles, one at a time; a page of them is read whenever one is needed."""


class AsyncProfiles(_AsyncIterator[Profile]):
    """As Profiles, for `async for`."""


def events(client: Client | AsyncClient, timeout: float | None, query: dict[str, Any]) -> Reading[Event]:
    return Reading(client, "events", _event, timeout, query)


def profile(client: Client | AsyncClient, timeout: float | None, query: dict[str, Any]) -> Reading[Profile]:
    return Reading(client, "profile", _profile, timeout, query)


def profiles(client: Client | AsyncClient, timeout: float | None, query: dict[str, Any]) -> Reading[Profile]:
    return Reading(client, "profiles", _profile, timeout, query)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this table needs {name}: pip install {name}", name=name) from error


def _columns(events: list[Event]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [event[i] for event in events] for i, name in enumerate(Event._fields)}
    columns["raw_data"] = [json.dumps(raw, ensure_ascii=False) for raw in columns["raw_data"]]
    return columns


def _to_pandas(events: list[Event]) -> pd.DataFrame:
    pandas = _library("pandas")
    series = {
        name: pandas.Series(values, dtype="datetime64[ms, UTC]" if name in _TIMES else object)
        for name, values in _columns(events).items()
    }
    table: pd.DataFrame = pandas.DataFrame(series)
    return table


def _to_polars(events: list[Event]) -> pl.DataFrame:
    polars = _library("polars")
    time = polars.Datetime("ms", "UTC")
    schema = {name: time if name in _TIMES else polars.String for name in Event._fields}
    table: pl.DataFrame = polars.DataFrame(_columns(events), schema=schema)
    return table


def _to_arrow(events: list[Event]) -> pa.Table:
    pyarrow = _library("pyarrow")
    time = pyarrow.timestamp("ms", "UTC")
    schema = pyarrow.schema([(name, time if name in _TIMES else pyarrow.string()) for name in Event._fields])
    return pyarrow.table(_columns(events), schema=schema)
