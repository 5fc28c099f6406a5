"""`verify_source`: whether the rows of a source arrived."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from . import _native
from ._results import Sent, SourceVerification
from ._send_many import Run, _Rejects
from ._sources import refuse
from ._values import unix_ms

if TYPE_CHECKING:
    import datetime

    from ._client import _Base

_SLICE = 0.2


class _NoRejects(_Rejects):
    """What was rejected is the reject file's of the run that sent the rows; nothing is written now."""

    def __init__(self) -> None:
        super().__init__(Path(), None)

    def write(self, row: int, code: str, path: str, message: str, text: str, **more: Any) -> None:
        pass


class _Rows(Run):
    """Goes through a source as `send_many` does, and sends nothing."""

    def __init__(self, client: _Base, source: object, options: Mapping[str, Any], proof: _native.RowProof) -> None:
        self._proof = proof
        super().__init__(client, source, options)

    def _open_rejects(self, path: Path, is_done: Callable[[int], bool] | None) -> _Rejects:
        return _NoRejects()

    def _open_checkpoint(self, given: str | os.PathLike[str] | bool | None, beside: Path | None) -> None:
        return None


class Verifying:
    """One verification of a source; `steps` does it."""

    def __init__(
        self,
        client: _Base,
        source: object,
        options: Mapping[str, Any],
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        timeout: float | None = 30,
    ) -> None:
        self._client = client
        self._source = source
        self._options = options
        self._since = None if since is None else unix_ms(since)
        self._until = None if until is None else unix_ms(until)
        self._timeout = timeout
        self._started = time.monotonic()
        self._proof = _native.RowProof(client)
        self._rows = _Rows(client, source, options, self._proof)
        self.sent: Sent = self._rows.sent()

    def steps(self) -> Iterator[SourceVerification]:
        """Yields some times a second how far it is; the last is the result (`missing` and `duplicate`)."""
        yield from self._go_through(self._rows)
        self._proof.seal()
        spans = self._spans()
        wait = 0.5
        until = None
        while True:
            for start, end in spans:
                self._proof.sweep(start, end)
            yield from self._read()
            if self._proof.gather():
                yield from self._go_through(_Rows(self._client, self._source, self._options, self._proof), again=True)
            if until is None and self._timeout is not None:
                until = time.monotonic() + self._timeout
            if self._proof.found == self._proof.expected or (until is not None and time.monotonic() >= until):
                break
            wait = min(wait * 2, 10)
            resume = time.monotonic() + (wait if until is None else min(wait, until - time.monotonic()))
            while (left := resume - time.monotonic()) > 0:
                time.sleep(min(left, _SLICE))
                yield self.state()
        yield self.state(final=True)

    def state(self, final: bool = False) -> SourceVerification:
        return SourceVerification(
            rows=self.sent.rows,
            rejected=self.sent.rejected,
            repeated=self._proof.repeated,
            expected=self._proof.expected,
            found=self._proof.found,
            pages=self._proof.pages,
            missing=self._proof.missing() if final else [],
            duplicate=self._proof.duplicate() if final else [],
            seconds=time.monotonic() - self._started,
        )

    def close(self) -> None:
        self._rows.close()

    def _go_through(self, rows: _Rows, again: bool = False) -> Iterator[SourceVerification]:
        try:
            for sent in rows.steps():
                if again:
                    yield from self._read()
                else:
                    self.sent = sent
                    yield self.state()
        finally:
            rows.close()

    def _read(self) -> Iterator[SourceVerification]:
        while self._proof.read(_SLICE, None):
            yield self.state()
        yield self.state()

    def _spans(self) -> list[tuple[int, int | None]]:
        """The rows' own time, and that of their sending where that is given."""
        spans: list[tuple[int, int | None]] = []
        if self._proof.untimed and self._since is None:
            raise refuse(
                "since",
                "required",
                f"{self._proof.untimed} rows have no timestamp: say with since when they were sent",
            )
        if self._proof.span is not None:
            spans.append(self._proof.span)
        if self._since is not None:
            spans.append((self._since, self._until))
        return spans


def verify(
    client: _Base,
    source: object,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    timeout: float | None,
    progress: Callable[[SourceVerification], object] | None,
    options: Mapping[str, Any],
) -> SourceVerification:
    verifying = Verifying(client, source, options, since, until, timeout)
    try:
        for state in verifying.steps():
            if progress is not None:
                progress(state)
        return state
    finally:
        verifying.close()
