"""What `intilery send` shows: how far it is, and what became of the rows."""

import contextlib
import json
import logging
import shlex
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Optional

from rich.console import Console
from rich.live import Live
from rich.table import Table

from . import Client, Sent
from ._cli_flags import EXIT_USAGE
from ._send_many import Run


class Report(logging.Handler):
    """Tells a person, or a program in JSON. Progress goes to standard error, the end to standard output."""

    def __init__(self, as_json: bool, dry_run: bool) -> None:
        super().__init__(logging.WARNING)
        self._json = as_json
        self._dry_run = dry_run
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Optional[Live] = None
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=50)  # ten seconds
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.print(f"intilery: {record.getMessage()}", markup=False)

    def refuse(self, error: Exception) -> None:
        if self._json:
            print(json.dumps({"error": str(error), "code": getattr(error, "code", ""), "exit_code": EXIT_USAGE}))
        else:
            self._errors.print(f"intilery send: {error}", markup=False)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        if self._json or not self._errors.is_terminal:
            yield
            return
        with Live(console=self._errors, transient=True, auto_refresh=False) as self._live:
            yield

    def show(self, sent: Sent, client: Client) -> None:
        stats = client.stats()
        now = time.monotonic()
        settled = sent.rows - sent.remaining
        requests = sum(stats.requests.values())
        self._recent.append((now, settled, requests))
        before, settled_before, requests_before = self._recent[0]
        seconds = max(0.2, now - before)
        rate = (settled - settled_before) / seconds
        left = "" if sent.total is None or rate <= 0 else _duration((sent.total - settled) / rate)
        cells = {
            "rows": f"{sent.rows:,}" + (f" of {sent.total:,}" if sent.total is not None else ""),
            "delivered": f"{sent.delivered:,}",
            "rejected": f"{sent.rejected:,}",
            "failed": f"{sent.failed:,}",
            "waiting": f"{sent.remaining:,}",
            "sent again": f"{stats.retried:,}",
            "rows a second": f"{rate:,.0f}",
            "requests a second": f"{(requests - requests_before) / seconds:,.0f}",
            "client": stats.state,
            "left": left,
        }
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, value in cells.items():
                table.add_row(name, value)
            self._live.update(table, refresh=True)
        elif not self._json and now - self._told >= 2:
            self._told = now
            line = ", ".join(f"{name} {value}" for name, value in cells.items() if value)
            self._errors.print(line, markup=False)

    def finish(self, sent: Sent, run: Run, why: Optional[BaseException], code: int) -> None:
        if self._json:
            report: dict[str, Any] = {**sent._asdict(), "rejects": str(sent.rejects) if sent.rejects else None}
            checkpoint = str(run.checkpoint) if run.checkpoint else None
            report.update(dry_run=self._dry_run, checkpoint=checkpoint, exit_code=code)
            if why is not None:
                report.update(error=str(why), code=getattr(why, "code", ""))
            print(json.dumps(report))
            return
        if why is not None:
            self._errors.print(f"intilery send: {why}", markup=False)
        rows = f"{sent.rows:,} rows" + (f", {sent.resumed:,} of them before this run" if sent.resumed else "")
        rate = (sent.rows - sent.resumed) / max(sent.seconds, 1e-3)
        dry = ": a dry run, nothing was sent" if self._dry_run else ""
        print(f"{rows}, in {_duration(sent.seconds)} ({rate:,.0f} a second){dry}")
        print(f"  {sent.delivered:,} delivered" + (f" ({sent.resent:,} sent more than once)" if sent.resent else ""))
        if sent.rejected or sent.failed:
            where = f": see {sent.rejects}" if sent.rejects else ""
            print(f"  {sent.rejected:,} rejected, {sent.failed:,} failed{where}")
        if sent.remaining:
            print(f"  {sent.remaining:,} without a fate yet")
        if why is not None:
            command = "the same command again" if "-" in sys.argv[2:3] else shlex.join(["intilery", *sys.argv[1:]])
            kept = f"{run.checkpoint} says where it was" if run.checkpoint else "from the first row, with the same ids"
            print(f"To go on: {command}\n  ({kept})")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
