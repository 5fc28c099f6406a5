"""`intilery verify`: whether the rows of a source arrived."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import datetime
import json
import logging
import signal
import time
from collections.abc import Iterator
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from . import Client, IntileryError, SourceVerification
from ._cli_flags import EXIT_INCOMPLETE, EXIT_STOPPED, EXIT_USAGE, AccountFlags, Json, RowFlags, option, with_flags
from ._verify_source import Verifying

EXIT_INTERRUPTED = 130

_SHOWN = 20

HELP = """Read back whether each row of a file, or of a query, arrived, once: the proof of `intilery send`.

Give the SOURCE and the options that it was sent with: the rows' message ids follow from them. Nothing is sent. The
events of the rows' own time are read at the account's pace, 100 with each request.

  intilery verify orders.csv --event "Order Completed" --user-id customer --timestamp ordered_at --timezone UTC

Exit codes: 0 every row is there once (but those that can be no event); 1 some are missing, or there more than once; 2
the command does not fit the source; 3 reading ended early; 130 Ctrl-C.
"""


@with_flags
def verify(
    source: Annotated[Optional[str], typer.Argument(help="A file.", show_default=False)] = None,
    *,
    rows: RowFlags,
    since: Annotated[
        Optional[str], option("When the rows were sent, at the earliest: needed where rows have no timestamp.")
    ] = None,
    until: Annotated[Optional[str], option("And at the latest. Default: now.")] = None,
    timeout: Annotated[float, option("Seconds to wait for rows that are not there yet. Default: 30.", min=0)] = 30,
    as_json: Json = False,
    account: AccountFlags,
) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # whoever started this may ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    report = _Report(as_json)
    logging.getLogger("intilery").addHandler(report)
    with contextlib.ExitStack() as stack:
        try:
            span = (_moment("since", since), _moment("until", until))
            client = Client.from_env(**account.given(), **rows.client_options())
            stack.callback(client.close, 0)
            verifying = Verifying(client, source, rows.given(), *span, timeout)
        except (IntileryError, ImportError, OSError, ValueError) as error:
            raise typer.Exit(report.end(error, EXIT_USAGE)) from None
        stack.callback(verifying.close)
        raise typer.Exit(_follow(verifying, report))


def _moment(name: str, text: Optional[str]) -> Optional[datetime.datetime]:
    """A date and time; without a zone it is this machine's."""
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        raise ValueError(f"{name} is no date such as 2024-07-05 or 2024-07-05T12:00Z: {text!r}") from None
    return moment if moment.tzinfo is not None else moment.astimezone()


def _follow(verifying: Verifying, report: "_Report") -> int:
    state = verifying.state()
    try:
        with report.live():
            for state in verifying.steps():
                report.show(state)
    except KeyboardInterrupt:
        return report.end(IntileryError("interrupted"), EXIT_INTERRUPTED, state)
    except IntileryError as error:
        # What the command got wrong is only seen once the rows are read.
        usage = error.code == "required" and state.pages == 0
        return report.end(error, EXIT_USAGE if usage else EXIT_STOPPED, state)
    return report.finish(state)


class _Report(logging.Handler):
    """Tells a person, or a program in JSON. Progress goes to standard error, the end to standard output."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(logging.WARNING)
        self._json = as_json
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Optional[Live] = None
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.print(f"intilery: {record.getMessage()}", markup=False)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        if self._json or not self._errors.is_terminal:
            yield
            return
        with Live(console=self._errors, transient=True, auto_refresh=False) as self._live:
            yield

    def show(self, state: SourceVerification) -> None:
        cells = {
            "rows": f"{state.rows:,}",
            "found": f"{state.found:,}" + (f" of {state.expected:,}" if state.pages else ""),
            "pages read": f"{state.pages:,}",
            "pages a second": f"{state.pages / max(state.seconds, 0.2):,.0f}",
        }
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, value in cells.items():
                table.add_row(name, value)
            self._live.update(table, refresh=True)
        elif not self._json and time.monotonic() - self._told >= 2:
            self._told = time.monotonic()
            self._errors.print(", ".join(f"{name} {value}" for name, value in cells.items()), markup=False)

    def end(self, error: Exception, code: int, state: Optional[SourceVerification] = None) -> int:
        """It did not come to a result."""
        if self._json:
            report: dict[str, Any] = {"error": str(error), "code": getattr(error, "code", ""), "exit_code": code}
            if state is not None:
                report.update(rows=state.rows, expected=state.expected, found=state.found)
            print(json.dumps(report))
        else:
            self._errors.print(f"intilery verify: {error}", markup=False)
            if state is not None and state.pages:
                print(f"{state.found:,} of {state.expected:,} rows were found so far; the rest was not looked at")
        return code

    def finish(self, state: SourceVerification) -> int:
        code = 0 if state.complete else EXIT_INCOMPLETE
        if self._json:
            report = state._asdict()
            for name in ("missing", "duplicate"):
                report[name] = [{"row": row, "message_id": message_id or None} for row, message_id in report[name]]
            print(json.dumps({**report, "exit_code": code}))
            return code
        print(f"{state.rows:,} rows, in {state.seconds:.1f} s ({state.pages:,} pages read)")
        print(f"  {state.found:,} of {state.expected:,} are there")
        if state.rejected:
            print(f"  {state.rejected:,} can be no event, and were not looked for")
        if state.repeated:
            print(f"  {state.repeated:,} have the message id of an earlier row")
        for what, rows in (("missing", state.missing), ("there more than once", state.duplicate)):
            if rows:
                shown = ", ".join(f"{row:,}" for row, _ in rows[:_SHOWN]) + (", …" if len(rows) > _SHOWN else "")
                print(f"  {len(rows):,} {what}: row {shown}")
        if state.expected and not state.found:
            print(
                "None is there: were they sent with other options? If the service goes by when it got them, say --since"
            )
        return code
