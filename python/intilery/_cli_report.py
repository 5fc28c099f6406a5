"""What `intilery send` shows: how far it is, and what became of the rows."""

import contextlib
import json
import logging
import shlex
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Optional

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from . import Sent, Stats
from ._cli_flags import EXIT_INCOMPLETE

Kind = Literal["send", "dry run", "validate"]

_STATES = {
    "running": "sending",
    "paused: rate": "waiting: the account's rate is used up",
    "paused: unreachable": "the service cannot be reached; trying again",
    "paused: auth": "the service refuses the token",
    "closed": "ending",
}


class Report(logging.Handler):
    """Tells a person, or a program in JSON. Progress goes to standard error, the end to standard output."""

    def __init__(self, command: str, kind: Kind, as_json: bool) -> None:
        super().__init__(logging.WARNING)
        self.command = command
        self.as_json = as_json
        self._kind = kind
        self._errors = Console(stderr=True, highlight=False)
        self._wide = not self._errors.is_terminal  # a line stays one, for programs
        self._live: Optional[Live] = None
        self._rate_limit = 0.0
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=50)  # ten seconds
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self._complain(f"intilery: {record.getMessage()}")

    def _complain(self, text: str) -> None:
        self._errors.print(text, markup=False, soft_wrap=self._wide)

    @contextlib.contextmanager
    def live(self, rate_limit: float) -> Iterator[None]:
        self._rate_limit = rate_limit
        if self.as_json or not self._errors.is_terminal:
            yield
            return
        with Live(console=self._errors, transient=True, auto_refresh=False) as self._live:
            yield

    def show(self, sent: Sent, stats: Stats) -> None:
        now = time.monotonic()
        settled = sent.rows - sent.remaining
        requests = sum(stats.requests.values())
        self._recent.append((now, settled, requests))
        before, settled_before, requests_before = self._recent[0]
        seconds = max(0.2, now - before)
        rate = (settled - settled_before) / seconds
        left = "" if sent.total is None or rate <= 0 else _duration((sent.total - settled) / rate)
        checking = self._kind != "send"
        cells = {
            "rows read": f"{sent.rows:,}" + (f" of {sent.total:,}" if sent.total is not None else ""),
            "valid" if checking else "delivered": f"{sent.delivered:,}",
            "rejected": f"{sent.rejected:,}",
            "failed": f"{sent.failed:,}",
            "waiting": f"{sent.remaining:,}",
            "sent again": f"{stats.retried:,}",
            "rows a second": f"{rate:,.0f}",
            "requests a second": f"{(requests - requests_before) / seconds:,.0f} of {self._rate_limit:,.10g}",
            "now": _STATES[stats.state],
            "time left": left,
        }
        if checking:
            for name in ("failed", "waiting", "sent again", "requests a second", "now"):
                del cells[name]
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, value in cells.items():
                table.add_row(name, value)
            if sent.total:
                table.add_row("", ProgressBar(total=sent.total, completed=settled, width=40))
            self._live.update(table, refresh=True)
        elif not self.as_json and now - self._told >= 2:
            self._told = now
            line = ", ".join(f"{name} {value}" for name, value in cells.items() if value)
            self._complain(line)

    def finish(self, sent: Sent, checkpoint: Optional[Path], why: Optional[BaseException], code: int) -> None:
        if self.as_json:
            report: dict[str, Any] = {**sent._asdict(), "rejects": str(sent.rejects) if sent.rejects else None}
            report.update(dry_run=self._kind != "send", checkpoint=str(checkpoint) if checkpoint else None)
            report.update(exit_code=code)
            if why is not None:
                report.update(error=str(why), code=getattr(why, "code", ""))
            print(json.dumps(report))
            return
        if why is not None:
            self._complain(f"intilery {self.command}: {why}")
        rows = _rows(sent.rows) + (f", {sent.resumed:,} of them before this run" if sent.resumed else "")
        rate = (sent.rows - sent.resumed) / max(sent.seconds, 1e-3)
        dry = ": a dry run, nothing was sent" if self._kind == "dry run" else ""
        print(f"{rows}, in {_duration(sent.seconds)} ({rate:,.0f} a second){dry}")
        again = f" ({sent.resent:,} needed more than one request)" if sent.resent else ""
        print(f"  {sent.delivered:,} {'delivered' if self._kind == 'send' else 'valid'}{again}")
        if sent.rejected or sent.failed:
            failed = f", {sent.failed:,} failed" if self._kind == "send" else ""
            where = f": see {sent.rejects}" if sent.rejects else ""
            print(f"  {sent.rejected:,} rejected{failed}{where}")
        if sent.remaining:
            print(f"  {sent.remaining:,} without a fate yet")
        if why is not None and self._kind == "send":
            command = "the same command again" if "-" in sys.argv[2:3] else shlex.join(["intilery", *sys.argv[1:]])
            kept = f"{checkpoint} says where it was" if checkpoint else "from the first row, with the same ids"
            print(f"To go on: {command}\n  ({kept})")
        elif code == EXIT_INCOMPLETE and self._kind == "send" and sent.rejects:
            print("To send those, correct them in a file of their own, and send that.")


def _rows(count: int) -> str:
    return f"{count:,} row" + ("" if count == 1 else "s")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
