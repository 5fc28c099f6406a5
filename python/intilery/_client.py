"""The clients. The event calls themselves are C++: bindings/python/calls.cpp."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import AsyncIterable, Generator, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Literal, Optional, TypeVar, Union

from . import _callbacks, _errors, _lifecycle, _native
from ._results import Flush, Receipt, Sent, SourceVerification, Stats, Verification

# What is seldom needed, or by some programs only, is imported there: docs/decisions/import-time.md.
if TYPE_CHECKING:
    import datetime

    from typing_extensions import Self, Unpack

    from ._options import Options
    from ._plan import Rows, SendManyOptions
    from ._reading import AsyncEvents, AsyncProfiles, Events, Profile, Profiles

_T = TypeVar("_T")
_GivenUp = Optional[Callable[[], bool]]
_Ids = Iterable[Union[str, _native.Delivery]]


async def _woken(wake_by: Callable[[Callable[[object], None]], object]) -> None:
    """Waits until the function that `wake_by` is given has been called, on any thread."""
    import asyncio

    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(woken.set)

    wake_by(wake)
    await woken.wait()


def _await_done(delivery: _native.Delivery) -> Generator[Any, None, Receipt]:
    return delivery.result()
    yield


def _convert_first(value: Any) -> object:
    """In the place of `_values.convert` until it is needed."""
    from . import _values

    _native.register(convert=_values.convert, number_type=_values.Number)
    return _values.convert(value)


_native.register(
    make_error=_errors.make_error,
    receipt_type=Receipt,
    await_done=_await_done,
    reopened=lambda client: client._start(),
    convert=_convert_first,
)


class _Base(_native.ClientBase):
    """What the clients have in common."""

    _thread: threading.Thread | _callbacks.SystemThread | None = None
    _unfinished = False
    _whole: Self | None = None  # of a view: the client
    _outbox: _native.Outbox | None = None  # of a client in memory

    def __init__(self, **options: Unpack[Options]) -> None:
        self._open(options, from_env=False)

    @classmethod
    def from_env(cls, **options: Unpack[Options]) -> Self:
        """A client with its options from the environment (`INTILERY_CLIENT_ID` and so on), and `options` over them.

        Raises:
            ConfigurationError: An option is missing or makes no sense.
        """
        client = cls.__new__(cls)
        client._open(options, from_env=True)
        return client

    def _open(self, options: Options, *, from_env: bool) -> None:
        given: dict[str, Any] = dict(options)
        functions = {name: given.pop(name, None) for name in ("default", "before_send", "on_error")}
        for name, value in given.items():
            if hasattr(value, "total_seconds"):  # a timedelta
                given[name] = value.total_seconds()
        _native.open(self, given, functions, from_env, self._outbox)
        self._start()

    def _start(self) -> None:
        """Follows every opening; in a forked child, the one of its own client in the place of its parent's, too."""
        _lifecycle.opened(self)
        self._unfinished = True
        self._loop = _callbacks.LoopHolder()
        self._thread = _callbacks.start(_native.callback_queue(self), self._loop)

    def brand(self, brand_id: str) -> Self:
        """A view on this client for another brand of the account.

        Events through it go to that brand, and what is read back is that brand's. The queue, the connections, the rate
        and all else are this client's: `flush`, `close` and `stats` are of the whole. Leaving a `with` on a view, or
        dropping it, closes nothing; a view keeps its client.

        Raises:
            ConfigurationError: The name makes no sense as `brand_id`.
            ClosedError: The client was closed before this process was forked.
        """
        view = type(self).__new__(type(self))
        _native.open_view(view, self, brand_id)
        view.__dict__.update(self.__dict__, _whole=self._whole or self, _unfinished=False)
        return view

    def stats(self) -> Stats:
        """The client's counters, taken at one moment. Cheap."""
        return Stats(**_native.stats(self))

    def set_auth_token(self, token: str) -> None:
        """Replaces the token, and goes on if the old one was refused.

        Raises:
            ConfigurationError: The token cannot be a header value.
        """
        _native.set_auth_token(self, token)

    def _finish(self, timeout: float | None, given_up: _GivenUp = None) -> Flush:
        whole = self._whole or self
        flush = Flush(*_native.close(self, timeout, given_up))
        _lifecycle.closed(whole)  # not before: the program's end closes what Ctrl-C kept from closing
        whole._unfinished = False
        # A forked child has its parent's thread only in name.
        thread = None if _native.is_foreign(self) else whole._thread
        # A callback may close its own client, and an event loop that waits here could not run the last callbacks.
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
        return flush

    def _patience(self, kind: type[BaseException] | None) -> float | None:
        """How long leaving a `with` block waits. Whoever pressed Ctrl-C does not want to wait for the queue."""
        cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", KeyboardInterrupt)
        hurried = kind is not None and issubclass(kind, (KeyboardInterrupt, cancelled))
        return _native.exit_timeout(self) if hurried else None

    def _verify(
        self,
        messages: _Ids,
        user_id: str | None,
        timeout: float | None,
        span: tuple[datetime.datetime | None, datetime.datetime | None],
        given_up: _GivenUp = None,
    ) -> Verification:
        from . import _values

        ids = [message if isinstance(message, str) else message.message_id for message in messages]
        start, end = (None if moment is None else _values.unix_ms(moment) for moment in span)
        return Verification(*_native.verify(self, ids, user_id or "", timeout, given_up, start, end))

    def __del__(self) -> None:
        if self._unfinished:  # a client in a cycle has left _lifecycle's weak set by now
            _lifecycle.dropped(self)

    def __reduce__(self) -> str:
        raise TypeError("a client cannot be pickled; make one in each process")


class Client(_Base):
    """Sends events to Intilery: in order for each user, at the account's pace, each exactly as its Delivery will tell.

    Every member may be called from any thread. Event calls do not block (but with `on_full="block"`) and do no I/O:
    they check, serialise and queue. A context manager: leaving it closes, which waits for every event's fate.

    Args:
        **options: See `Options`. `client_id`, `account_id`, `brand_id` and `auth_token` are required.

    Raises:
        ConfigurationError: An option is missing or makes no sense; names the option.
    """

    def flush(self, timeout: float | None = None) -> Flush:
        """Sends what waits at once; returns when every event accepted before has its fate, or after `timeout` seconds.

        The GIL is free meanwhile, and Ctrl-C ends the wait.
        """
        return Flush(*_native.flush(self, timeout, None))

    def close(self, timeout: float | None = None) -> Flush:
        """Accepts no more events, flushes, and stops. May be called more than once.

        Args:
            timeout: Seconds. What has no fate by then fails with reason "closed". None: waits for every fate.
        """
        return self._finish(timeout)

    def verify(
        self,
        messages: _Ids,
        user_id: str | None = None,
        timeout: float | None = 30,
        *,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
    ) -> Verification:
        """Reads back which of these messages arrived.

        Waits for those that are not there yet: the service processes asynchronously. Paced like everything else.

        Args:
            messages: Deliveries or message ids.
            user_id: Reads only this user's events, which is far quicker.
            timeout: Seconds.
            start: With it, all events from then on are read, however many (docs/data.md). Without, the newest 10,000,
                and those since the ids were made if they say when (as the client's own do).
            end: Events up to then.

        Raises:
            ValueError: A moment without a zone.
            DeliveryError: Reading failed for good.
            AuthError: The token has no rights.
            TimeoutError: Reading took longer.
            ClosedError: The client is closed.
        """
        return self._verify(messages, user_id, timeout, (start, end))

    def verify_source(
        self,
        source: Rows | None = None,
        *,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        timeout: float | None = 30,
        progress: Callable[[SourceVerification], object] | None = None,
        **options: Unpack[SendManyOptions],
    ) -> SourceVerification:
        """Reads back whether every row of a source arrived, once: the proof of a `send_many` with the same arguments.

        Goes through the source as `send_many` does, sending nothing, and finds the same message ids. Then it reads the
        events of the rows' own time. docs/data.md says what that needs.

        Args:
            source: As for `send_many`.
            since: When the rows were sent, at the earliest. Needed where rows have no timestamp.
            until: And at the latest. Default: now.
            timeout: Seconds, once everything was read, to wait for rows that are not there yet.
            progress: Called some times a second.
            **options: As for `send_many`; `checkpoint` and `rejects` have no meaning.

        Raises:
            ConfigurationError: The arguments do not fit the source.
            DeliveryError, AuthError, TimeoutError, ClosedError: As for `verify`.
        """
        from ._verify_source import verify

        return verify(self, source, since, until, timeout, progress, options)

    def events(
        self,
        user_id: str | None = None,
        email: str | None = None,
        *,
        id: str | None = None,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        start: datetime.datetime | str | None = None,
        end: datetime.datetime | str | None = None,
        sort: Literal["asc", "desc"] = "desc",
        limit: int | None = None,
        timeout: float | None = 30,
    ) -> Events:
        """Reads events back, a page whenever one is needed, paced like everything else. docs/reading.md has the limits.

        Args:
            user_id: Only this user's.
            email: Only those of the customers with this email.
            id: Only those of the profile with this id.
            include: Only events of these names.
            exclude: No events of these names.
            start: Not before this moment: an aware datetime, or ISO-8601 text with a zone.
            end: Not after it.
            sort: "desc" gives the newest first.
            limit: Not more than so many.
            timeout: Seconds that the next event may take, retries included.

        Raises:
            ValidationError: A mistake in the query. All else is raised where the events are taken: DeliveryError,
                AuthError, TimeoutError, ClosedError.
        """
        from . import _reading

        query = {
            "userId": user_id,
            "email": email,
            "id": id,
            "include": include,
            "exclude": exclude,
            "start": start,
            "end": end,
            "sort": sort,
            "limit": limit,
        }
        return _reading.Events(_reading.events(self, timeout, query))

    def profile(
        self,
        user_id: str | None = None,
        email: str | None = None,
        *,
        id: str | None = None,
        timeout: float | None = 30,
    ) -> Profile | None:
        """A customer's traits, and what else the service says of them; None if it knows nobody by that key.

        Args:
            user_id: Who; or one of the others.
            email: The customer's email. `profiles(email)` gives all who have it.
            id: The service's own id, as in `Profile.id`.
            timeout: Seconds.

        Raises:
            ValidationError: Not one key was given, or several customers have the email.
            DeliveryError: Reading failed for good.
            AuthError: The token has no rights.
            TimeoutError: Reading took longer.
            ClosedError: The client is closed.
        """
        from . import _reading

        return _reading.profile(self, timeout, {"userId": user_id, "email": email, "id": id}).take()

    def profiles(self, email: str | None = None, timeout: float | None = 30) -> Profiles:
        """All customers, or those who have an email. Raises as `events`."""
        from . import _reading

        return _reading.Profiles(_reading.profiles(self, timeout, {"email": email}))

    def send_many(
        self,
        source: Rows | None = None,
        *,
        progress: Callable[[Sent], object] | None = None,
        **options: Unpack[SendManyOptions],
    ) -> Sent:
        """Sends every row of a source as an event, and waits for their fates. docs/data.md has examples.

        Waits for room in the queue, whatever `on_full` says. Ctrl-C ends it; what was accepted goes on.

        Args:
            source: The path of a CSV, TSV, NDJSON or Parquet file (also .gz, .zst); a table (pandas, polars, pyarrow,
                anything with `__arrow_c_stream__`); a DuckDB relation; an iterable of dicts.
            progress: Called some times a second.
            **options: What of a row says what, and what becomes of bad rows; see `SendManyOptions`.

        Raises:
            ConfigurationError: The arguments do not fit the source; nothing was sent. Or it cannot be read any further.
            ValidationError: With `on_invalid="stop"`; `row` says which.
            ClosedError: The client is closed.
            SpoolError: An event could not be spooled.
            ImportError: What reads the source is not installed: `pip install 'intilery[data]'`.
        """
        from ._send_many import Run  # with what reads files, only where it is needed

        run = Run(self, source, options)
        try:
            for sent in run.steps():
                if progress is not None:
                    progress(sent)
            return run.sent()
        finally:
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._whole is None:
            self.close(self._patience(kind))


class AsyncClient(_Base):
    """The same client for asyncio: event calls are as in Client, and what waits is awaited.

    `await client.track(…)` gives the Receipt; a delivery that is not awaited is sent all the same. Callbacks
    (`on_delivery`, `on_error`) run in the event loop in which the client was made, or entered with `async with`.
    """

    def _start(self) -> None:
        super()._start()
        self._find_loop()

    def _find_loop(self) -> None:
        import asyncio

        with contextlib.suppress(RuntimeError):  # made outside of a loop
            (self._whole or self)._loop.loop = asyncio.get_running_loop()

    async def _aside(self, work: Callable[[_GivenUp], _T]) -> _T:
        """Runs what blocks on another thread; a cancelled wait ends there, too, or the loop's end would wait for it."""
        import asyncio

        given_up = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work, given_up.is_set)
        finally:
            given_up.set()

    async def flush(self, timeout: float | None = None) -> Flush:
        """As `Client.flush`."""
        if _native.is_idle(self):
            return Flush(0, 0, 0)
        return Flush(*await self._aside(partial(_native.flush, self, timeout)))

    async def close(self, timeout: float | None = None) -> Flush:
        """As `Client.close`."""
        loop = (self._whole or self)._loop
        # A callback that runs outside of a loop may take long.
        aside = loop.loop is None or not _native.is_idle(self)
        flush = await self._aside(partial(self._finish, timeout)) if aside else self._finish(timeout)
        await loop.idle()
        return flush

    async def drained(self) -> None:
        """Waits until no event is without a fate: between events it keeps a producer at the pace of the account."""
        await _woken(partial(_native.when_idle, self))

    async def verify(
        self,
        messages: _Ids,
        user_id: str | None = None,
        timeout: float | None = 30,
        *,
        start: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
    ) -> Verification:
        """As `Client.verify`."""
        return await self._aside(partial(self._verify, list(messages), user_id, timeout, (start, end)))

    def events(
        self,
        user_id: str | None = None,
        email: str | None = None,
        *,
        id: str | None = None,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        start: datetime.datetime | str | None = None,
        end: datetime.datetime | str | None = None,
        sort: Literal["asc", "desc"] = "desc",
        limit: int | None = None,
        timeout: float | None = 30,
    ) -> AsyncEvents:
        """As `Client.events`, for `async for`."""
        from . import _reading

        query = {
            "userId": user_id,
            "email": email,
            "id": id,
            "include": include,
            "exclude": exclude,
            "start": start,
            "end": end,
            "sort": sort,
            "limit": limit,
        }
        return _reading.AsyncEvents(self, _reading.events(self, timeout, query))

    async def profile(
        self,
        user_id: str | None = None,
        email: str | None = None,
        *,
        id: str | None = None,
        timeout: float | None = 30,
    ) -> Profile | None:
        """As `Client.profile`."""
        from . import _reading

        query = {"userId": user_id, "email": email, "id": id}
        return await _reading.profile(self, timeout, query).take_aside(self)

    def profiles(self, email: str | None = None, timeout: float | None = 30) -> AsyncProfiles:
        """As `Client.profiles`, for `async for`."""
        from . import _reading

        return _reading.AsyncProfiles(self, _reading.profiles(self, timeout, {"email": email}))

    async def send_many(
        self,
        source: Rows | AsyncIterable[Mapping[str, Any]] | None = None,
        *,
        progress: Callable[[Sent], object] | None = None,
        **options: Unpack[SendManyOptions],
    ) -> Sent:
        """As `Client.send_many`; the source may be an async iterable of dicts, too. Cancelling ends it.

        An async iterable is read, and `progress` called, in the event loop; all else is done on another thread.
        """
        from ._send_many import Run

        given_up = threading.Event()
        run = await self._aside(lambda _: Run(self, source, options, given_up.is_set))
        try:
            if isinstance(source, AsyncIterable):
                async for row in source:
                    if run.full():
                        break
                    # The loop does not wait: where there is no room, another thread does.
                    while not run.offer(row, 0):
                        await self._aside(partial(_native.flush, self, 0.05))
                    if (sent := run.progress()) is not None and progress is not None:
                        progress(sent)
                steps = run.wait()
            else:
                steps = run.steps()
            while (sent := await self._aside(lambda _: next(steps, None))) is not None:
                if progress is not None:
                    progress(sent)
            return run.sent()
        finally:
            given_up.set()
            await self._aside(lambda _: run.close())

    async def __aenter__(self) -> Self:
        self._find_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._whole is None:
            await self.close(self._patience(kind))
