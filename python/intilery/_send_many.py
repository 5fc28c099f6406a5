"""`send_many`: a source's rows, on their way to their fates."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import time
from collections.abc import AsyncIterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Callable

from . import _native
from ._errors import ClosedError, ConfigurationError, IntileryError, ValidationError
from ._results import Sent
from ._sources import (
    RUN_OPTIONS,
    Names,
    Plan,
    Source,
    is_path,
    is_same,
    merge,
    open_source,
    refuse,
    resolve,
    unreadable,
)

if TYPE_CHECKING:
    from ._checkpoint import Checkpoint
    from ._client import _Base

_SLICE = 0.05


class _Rejects:
    """The reject file: a line of JSON for each row that was not delivered. Made when the first one is."""

    def __init__(self, path: Path, is_done: Callable[[int], bool] | None) -> None:
        """`is_done` tells which rows an earlier run, which this one goes on with, has done."""
        self.path = path
        self.broken = False
        self._is_done = is_done
        self._file: IO[str] | None = None
        if is_done is not None and path.exists():
            with self._writing():
                self._file = self._open()

    def write(self, row: int, code: str, path: str, message: str, text: str, **more: Any) -> None:
        line = {"row": row, "code": code, "path": path, "message": message, **more}
        with self._writing():
            if self._file is None:
                self._file = self._open()
            self._file.write(json.dumps(line, ensure_ascii=False)[:-1] + f', "values": {_as_json(text)}}}\n')

    @property
    def written(self) -> Path | None:
        return self.path if self._file is not None else None

    def _open(self) -> IO[str]:
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)  # a killed run's, or anybody's: then its mode is its own
        file = os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
        if self._is_done is not None and self.path.exists():
            # Without the rows that will be sent again, and without a line that a full disk or a kill cut short.
            with self.path.open(encoding="utf-8") as before:
                for line in before:
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        if self._is_done(json.loads(line)["row"]):
                            file.write(line)
        file.flush()
        os.replace(new, self.path)
        return file

    def flush(self) -> None:
        if self._file is not None:
            with self._writing():
                self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            with self._writing():
                self._file.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.broken = True  # some lines may be gone
            raise ConfigurationError(
                f"the reject file {str(self.path)!r} cannot be written: {error.strerror}; the run is stopped, and what "
                "it had no line for is not counted as done. Make room, or name another file, and run it again",
                code="rejects_unusable",
                option="rejects",
            ) from error


def _as_json(text: str) -> str:
    """The text itself if it is one line of JSON, else as a JSON string."""

    def refuse_constant(_: str) -> None:
        raise ValueError

    with contextlib.suppress(ValueError, RecursionError):
        json.loads(text, parse_constant=refuse_constant)
        if "\n" not in text:
            return text
    return json.dumps(text, ensure_ascii=False)


class Run:
    """One call of `send_many`. Everything about it is checked before anything is sent."""

    _proof: _native.RowProof | None = None  # gets the rows in the place of the service

    def __init__(
        self,
        client: _Base,
        source: object,
        options: Mapping[str, Any],
        given_up: Callable[[], bool] | None = None,
        ordered: bool = True,
    ) -> None:
        given = merge(options)
        on_invalid, rejects, checkpoint, limit = (given.pop(name, None) for name in RUN_OPTIONS)
        on_invalid = on_invalid or "reject"
        if on_invalid not in ("reject", "stop"):
            raise refuse("on_invalid", "invalid_value", f'on_invalid must be "reject" or "stop", not {on_invalid!r}')
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise refuse("limit", "invalid_value", f"limit must be a number of rows, not {limit!r}")
        self._client = client
        # A cancelled wait for a step in asyncio does not end the step at once.
        self._lock = threading.RLock()
        self._closed = False
        self._torn = False  # fates were taken and not written down: nothing after them may be, either
        self._given_up = given_up
        self._limit = limit
        self._stop = on_invalid == "stop"
        self._plan = plan = Plan.made(given)
        self._started = time.monotonic()
        self._noted = self._started
        self._row: dict[str, Any] | None = None  # taken from the source, and not accepted yet
        beside = Path(os.fspath(source)) if is_path(source) else None  # type: ignore[call-overload]
        if isinstance(source, AsyncIterable):
            self.source = Source()
        else:
            self.source = open_source(source, plan, limit)
        self._checkpoint: Checkpoint | None = None
        try:
            self._checkpoint = self._open_checkpoint(checkpoint, beside)
            before = self._checkpoint.settled if self._checkpoint is not None else ""
            broken = [row for row in self.source.broken if limit is None or row.row <= limit]
            source_id = plan.source_id if plan.source_id is not None else beside.name if beside is not None else ""
            self._sender = _native.RowSender(
                client,
                plan.action,
                plan.event or "",
                source_id,
                before,
                self._stop,
                [row.row for row in broken],
                (self.source.names or Names(None, None, None, None, None, False, frozenset())).native(),
                self._proof,
            )
            if not ordered:
                self._sender.unordered()
            self._before = self._checkpoint.tally if self._checkpoint is not None else [0] * 5
            self._resumed = self._before[0]
            self._total = (0, 0, 0, 0, 0)
            new = [row for row in broken if not self._sender.is_done(row.row)]
            if self._stop and new:
                raise _stopped(new[0].row, ValidationError(new[0].message, code="broken_row", path=new[0].path))
            # A dry run must not write over the reject file of a run that is to be gone on with.
            kind = "invalid" if _native.is_dry_run(client) else "rejects"
            path = Path(rejects) if rejects is not None else _beside(beside, f"{kind}.ndjson")
            self._rejects = self._open_rejects(
                path or Path(f"intilery-{kind}.ndjson"), self._sender.is_done if before else None
            )
            if self.source.stream is not None:
                with self._reading():
                    self._sender.open(self.source.stream, self.source.members, self.source.sparse)
            for row in new:
                self._rejects.write(row.row, "broken_row", row.path, row.message, row.text, line=row.line)
        except BaseException:
            self.source.close()
            if self._checkpoint is not None:
                self._checkpoint.close()
            raise

    def _open_rejects(self, path: Path, is_done: Callable[[int], bool] | None) -> _Rejects:
        return _Rejects(path, is_done)

    def _open_checkpoint(self, given: str | os.PathLike[str] | bool | None, beside: Path | None) -> Checkpoint | None:
        if given is None or given is False or _native.is_dry_run(self._client):  # a dry run gets nowhere
            return None
        path = _beside(beside, "checkpoint") if given is True else Path(given)
        if path is None:
            raise refuse(
                "checkpoint", "required", "say where the checkpoint is to be: the source has no path of its own"
            )
        from ._checkpoint import Checkpoint

        checkpoint = Checkpoint(path, asdict(self._plan))
        if checkpoint.head is not None and beside is not None and not is_same(beside, checkpoint.head):
            raise checkpoint.refuse_source()
        return checkpoint

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """What DuckDB says of a source is said as an error of this library's."""
        try:
            yield
        except IntileryError:
            raise
        except (RuntimeError, ValueError) as error:
            raise unreadable(self.source.path, error) from None
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("duckdb", "_duckdb"):
                raise unreadable(self.source.path, error) from None
            raise

    # The run.

    def steps(self) -> Iterator[Sent]:
        """Sends all rows, and waits for their fates; yields some times a second.

        Raises:
            ValidationError: With `on_invalid="stop"`; the rows before that one have their fates.
            ClosedError: The client was closed meanwhile.
            ConfigurationError: The source cannot be read any further, or the reject file or the checkpoint written.
            DeliveryError, AuthError: The service was away, or refused the token, for too long. Rows without a fate stay
                so, for the next run.
        """
        more = True
        while more:
            with self._lock:
                more = self._step()
                stopped = self._book()
            yield self.sent()
            if stopped is not None:
                yield from self.wait()
                raise stopped
        yield from self.wait()

    def progress(self) -> Sent | None:
        """Books what is known by now, some times a second; else None."""
        if time.monotonic() - self._noted < _SLICE:
            return None
        self._noted = time.monotonic()
        self._book()
        return self.sent()

    def wait(self) -> Iterator[Sent]:
        """Waits until every row has its fate."""
        self._book()
        while self.sent().remaining > 0:
            if _native.stats(self._client)["state"] == "closed":
                raise ClosedError("the client was closed before every row had its fate", code="closed")
            _native.flush(self._client, _SLICE, self._given_up)
            self._book()
            yield self.sent()

    def close(self) -> None:
        """Books the last fates, such as those that closing the client brought, and lets go of all files."""
        with self._lock:
            if self._closed:
                return
            try:
                if not self._is_torn():
                    self._take()
                    self._rejects.close()
            finally:
                self._closed = True
                self.source.close()
                if self._checkpoint is not None:
                    self._checkpoint.close()

    def sent(self) -> Sent:
        total = self.source.total
        if self._limit is not None and total is not None:
            total = min(self._limit, total)
        rows, delivered, rejected, failed, resent = (a + b for a, b in zip(self._before, self._total))
        return Sent(
            rows=rows,
            sent=rows - rejected,
            delivered=delivered,
            rejected=rejected,
            failed=failed,
            remaining=rows - delivered - rejected - failed,
            resent=resent,
            resumed=self._resumed,
            total=total,
            seconds=time.monotonic() - self._started,
            rejects=self._rejects.written,
        )

    @property
    def checkpoint(self) -> Path | None:
        return self._checkpoint.path if self._checkpoint is not None else None

    def _book(self) -> ValidationError | None:
        """Takes note of new fates. Returns the mistake that stops the run."""
        with self._lock:
            if self._closed or self._is_torn():
                return None
            stopped, ended = self._take()
        if ended is not None:
            raise ended
        return stopped

    def _is_torn(self) -> bool:
        return self._torn or self._rejects.broken

    def _take(self) -> tuple[ValidationError | None, IntileryError | None]:
        settled, total, rejects, failures, ended = self._sender.take()
        self._torn = True
        stopped = None
        for row, code, path, message, text in rejects:
            if self._stop:
                stopped = _stopped(row, ValidationError(message, code=code, path=path))
            else:
                self._rejects.write(row, code, path, message, text)
        for row, error, text in failures:
            arrived = getattr(error, "arrived", "no")
            self._rejects.write(row, error.code, "", str(error), text, arrived=arrived, message_id=error.message_id)
        self._rejects.flush()
        if self._checkpoint is not None:
            rows = [sum(total[1:4]), *total[1:]]
            self._checkpoint.save(settled, [a + b for a, b in zip(self._before, rows)], self.source.head)
        self._total = total
        self._torn = False
        return stopped, ended

    def _step(self) -> bool:
        """Sends for a while. False: there are no more rows."""
        if self.source.rows is not None:
            return self._send_dicts()
        with self._reading():
            return self._sender.step(_SLICE, self._given_up)

    # Rows that are dicts.

    def _send_dicts(self) -> bool:
        until = time.monotonic() + _SLICE
        assert self.source.rows is not None
        while time.monotonic() < until:
            if self._row is None:
                if self.full():
                    return False
                try:
                    self._row = next(self.source.rows)
                except StopIteration:
                    return False
            if not self.offer(self._row, max(0.0, until - time.monotonic())):
                return True
            self._row = None
        return True

    def full(self) -> bool:
        """Whether `limit` rows were taken."""
        return self._limit is not None and self._sender.next_row > self._limit

    def offer(self, row: object, seconds: float) -> bool:
        """Sends one row. False: there was no room for so long."""
        try:
            return self._offer(row, seconds)
        except ValidationError as error:
            number = self._sender.next_row if self._stop else self._sender.next_row - 1
            if self._stop:
                for _ in self.wait():
                    pass
                raise _stopped(number, error) from error
            text = json.dumps(row, default=repr, ensure_ascii=False)
            self._rejects.write(number, error.code, error.path, str(error), text)
            return True

    def _offer(self, row: object, seconds: float) -> bool:
        if not isinstance(row, Mapping):
            if not self._stop and not self._sender.reject():
                return True  # in an earlier run
            raise ValidationError(f"a row must be a mapping, not {type(row).__name__}", code="wrong_type")
        names = self.source.names
        if names is None:
            names = self.source.names = resolve(self._plan, [str(key) for key in row])
        timestamp = None
        if names.timestamp is not None:
            timestamp = row.get(names.timestamp)
            if timestamp is None:
                timestamp = ""
            elif self._plan.timezone is not None or self._plan.timestamp_format is not None:
                timestamp = self._zoned(timestamp)
        return self._sender.send(
            _id(row, names.user_id),
            _id(row, names.anonymous_id),
            row.get(names.event) if names.event is not None else None,
            _id(row, names.message_id),
            timestamp,
            {key: value for key, value in row.items() if names.is_body(key)},
            seconds,
            self._given_up,
        )

    def _zoned(self, value: object) -> object:
        from zoneinfo import ZoneInfo

        if isinstance(value, str):
            form = self._plan.timestamp_format
            with contextlib.suppress(ValueError):
                value = datetime.datetime.strptime(value, form) if form else datetime.datetime.fromisoformat(value)
        if isinstance(value, datetime.datetime) and value.tzinfo is None:
            return value.replace(tzinfo=ZoneInfo(self._plan.timezone or "UTC"))
        return value


def _id(row: Mapping[Any, Any], name: str | None) -> object:
    value = row.get(name) if name is not None else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _beside(source: Path | None, ending: str) -> Path | None:
    return source.with_name(f"{source.name}.{ending}") if source is not None else None


def _stopped(row: int, error: ValidationError) -> ValidationError:
    stopped = ValidationError(f"row {row}: {error}", code=error.code, path=error.path)
    stopped.row = row
    return stopped
