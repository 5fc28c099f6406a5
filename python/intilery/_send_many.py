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
from ._errors import ClosedError, IntileryError, ValidationError
from ._results import Sent
from ._sources import Names, Plan, Source, is_path, is_same, open_source, refuse, resolve, unreadable

if TYPE_CHECKING:
    from ._checkpoint import Checkpoint
    from ._client import _Base

_SLICE = 0.2


class _Rejects:
    """The reject file: a line of JSON for each row that was not delivered. Made when the first one is."""

    def __init__(self, path: Path, through: int) -> None:
        self.path = path
        self._through = through
        # An earlier run's, without the rows that will be sent again.
        self._file: IO[str] | None = self._open() if through > 0 and path.exists() else None

    def write(self, row: int, code: str, path: str, message: str, text: str, **more: Any) -> None:
        if self._file is None:
            self._file = self._open()
        line = {"row": row, "code": code, "path": path, "message": message, **more}
        self._file.write(json.dumps(line, ensure_ascii=False)[:-1] + f', "values": {_as_json(text)}}}\n')

    @property
    def written(self) -> Path | None:
        return self.path if self._file is not None else None

    def _open(self) -> IO[str]:
        kept: list[str] = []
        if self._through > 0 and self.path.exists():
            with self.path.open(encoding="utf-8") as before:
                for line in before:
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        if json.loads(line)["row"] <= self._through:
                            kept.append(line)
        new = self.path.with_name(self.path.name + ".new")
        file = os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")
        file.writelines(kept)
        file.flush()
        os.replace(new, self.path)
        return file

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


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
    ) -> None:
        given = dict(options)
        mapping, on_invalid, rejects, checkpoint, limit = (
            given.pop(name, None) for name in ("mapping", "on_invalid", "rejects", "checkpoint", "limit")
        )
        on_invalid = on_invalid or "reject"
        if on_invalid not in ("reject", "stop"):
            raise refuse("on_invalid", "invalid_value", f'on_invalid must be "reject" or "stop", not {on_invalid!r}')
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise refuse("limit", "invalid_value", f"limit must be a number of rows, not {limit!r}")
        self._client = client
        # A cancelled wait for a step in asyncio does not end the step at once.
        self._lock = threading.RLock()
        self._closed = False
        self._given_up = given_up
        self._limit = limit
        self._stop = on_invalid == "stop"
        self._plan = plan = Plan.made(given, mapping)
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
            self._through = through = self._checkpoint.through if self._checkpoint is not None else 0
            path = Path(rejects) if rejects is not None else _beside(beside, "rejects.ndjson")
            self._rejects = self._open_rejects(path or Path("intilery-rejects.ndjson"), through)
            broken = [row for row in self.source.broken if limit is None or row.row <= limit]
            if self._stop and broken:
                raise _stopped(
                    broken[0].row, ValidationError(broken[0].message, code="broken_row", path=broken[0].path)
                )
            source_id = plan.source_id if plan.source_id is not None else beside.name if beside is not None else ""
            self._sender = _native.RowSender(
                client,
                plan.action,
                plan.event or "",
                source_id,
                through,
                self._stop,
                [row.row for row in broken],
                (self.source.names or Names(None, None, None, None, None, False, frozenset())).native(),
                self._proof,
            )
            self._before = self._checkpoint.tally if self._checkpoint is not None else [0] * 5
            self._resumed = self._before[0]
            self._total = (0, 0, 0, 0, 0)
            if self.source.stream is not None:
                with self._reading():
                    self._sender.open(self.source.stream)
            for row in broken:
                if row.row > through:
                    self._rejects.write(row.row, "broken_row", row.path, row.message, row.text, line=row.line)
        except BaseException:
            self.source.close()
            if self._checkpoint is not None:
                self._checkpoint.close()
            raise

    def _open_rejects(self, path: Path, through: int) -> _Rejects:
        return _Rejects(path, through)

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
            raise unreadable(self.source.path, error) from error
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("duckdb", "_duckdb"):
                raise unreadable(self.source.path, error) from error
            raise

    # The run.

    def steps(self) -> Iterator[Sent]:
        """Sends all rows, and waits for their fates; yields some times a second.

        Raises:
            ValidationError: With `on_invalid="stop"`; the rows before that one have their fates.
            ClosedError: The client was closed meanwhile.
            ConfigurationError: The source cannot be read any further.
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
                self._book()
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
            return None if self._closed else self._take()

    def _take(self) -> ValidationError | None:
        through, settled, self._total, rejects, failures = self._sender.take()
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
            self._checkpoint.save(through, [a + b for a, b in zip(self._before, settled)], self.source.head)
        return stopped

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
            if number > self._through:
                text = json.dumps(row, default=repr, ensure_ascii=False)
                self._rejects.write(number, error.code, error.path, str(error), text)
            return True

    def _offer(self, row: object, seconds: float) -> bool:
        if not isinstance(row, Mapping):
            if not self._stop:
                self._sender.reject()
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
