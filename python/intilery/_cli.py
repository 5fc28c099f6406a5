"""The command line: `intilery send`. Loaded only where typer and rich are installed."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import json
import logging
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from . import Client, IntileryError, Sent, __version__
from ._cli_plan import app as _plan_app
from ._send_many import Run

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3

app = typer.Typer(
    name="intilery",
    help="Tools for the Intilery event API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    pass


app.add_typer(_plan_app)


@app.command("sandbox", context_settings={"ignore_unknown_options": True}, add_help_option=False)
def _sandbox_command() -> None:
    """Run a stand-in for the service; `intilery sandbox --help` has its options."""  # __main__ runs it


_SEND_HELP = """Send each row of a file, or of a query, as an event, and wait until each has its fate.

SOURCE is a CSV, TSV, NDJSON or Parquet file (plain, .gz or .zst), or - for standard input. Without options for them,
the columns user_id, anonymous_id, event, timestamp and message_id are used where they exist; all other columns become
the event's properties (traits, with --action identify).

The account comes from INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID, INTILERY_BRAND_ID and INTILERY_AUTH_TOKEN; every other
option of the client has its variable, too, such as INTILERY_RATE_LIMIT.

A run that was ended, by kill -9 too, goes on where it was when the same command is given again.

  intilery send orders.csv --event "Order Completed" --user-id customer --timestamp ordered_at --timezone Europe/London

Exit codes: 0 every row was delivered; 1 some were rejected or failed, and are in the reject file; 2 the command does
not fit the source, nothing was sent; 3 the run was stopped before its end; 130 Ctrl-C, 143 terminated.
"""


def _option(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **more)


@app.command("send", help=_SEND_HELP)
def send(
    source: Annotated[Optional[str], typer.Argument(help="A file, or -.", show_default=False)] = None,
    action: Annotated[Optional[str], _option("track (default), identify, page or screen.")] = None,
    event: Annotated[Optional[str], _option("The name of every event.")] = None,
    event_column: Annotated[Optional[str], _option("The column that has each event's name.")] = None,
    user_id: Annotated[Optional[str], _option("The column of the user ids.")] = None,
    anonymous_id: Annotated[Optional[str], _option("The column of the ids of unknown visitors.")] = None,
    timestamp: Annotated[Optional[str], _option("The column that says when it happened.")] = None,
    timestamp_format: Annotated[Optional[str], _option('How that is written, if not ISO-8601: "%d/%m/%Y".')] = None,
    timezone: Annotated[Optional[str], _option("Of timestamps that name none: UTC, Europe/London …")] = None,
    message_id: Annotated[Optional[str], _option("The column of the message ids. Default: made from the row.")] = None,
    properties: Annotated[Optional[str], _option("Only these columns become properties: a,b,c.")] = None,
    exclude: Annotated[Optional[str], _option("These columns do not: a,b,c.")] = None,
    sql: Annotated[Optional[str], _option("Send this query's rows; in it, SOURCE is the table `source`.")] = None,
    mapping: Annotated[Optional[Path], _option("A YAML or JSON file with the options above.")] = None,
    format: Annotated[Optional[str], _option("csv, tsv, ndjson, parquet or lines, if the name does not tell.")] = None,
    delimiter: Annotated[Optional[str], _option("Of CSV, if the header does not tell.")] = None,
    source_id: Annotated[Optional[str], _option("Goes into the message ids. Default: the file's name.")] = None,
    on_invalid: Annotated[str, _option("A row that can be no event: reject (default) or stop.")] = "reject",
    rejects: Annotated[Optional[Path], _option("The reject file. Default: SOURCE.rejects.ndjson.")] = None,
    checkpoint: Annotated[Optional[Path], _option("Default: SOURCE.checkpoint.")] = None,
    no_checkpoint: Annotated[bool, _option("Begin at the first row, and remember nothing.", "--no-checkpoint")] = False,
    limit: Annotated[Optional[int], _option("Send the first rows only.", min=0)] = None,
    plan: Annotated[Optional[Path], _option("A tracking plan (JSON, YAML): rows that break it are rejected.")] = None,
    dry_run: Annotated[bool, _option("Check every row, and send nothing.", "--dry-run")] = False,
    as_json: Annotated[bool, _option("Report in JSON, for programs.", "--json")] = False,
    client_id: Annotated[Optional[str], _option("Over INTILERY_CLIENT_ID.")] = None,
    account_id: Annotated[Optional[str], _option("Over INTILERY_ACCOUNT_ID.")] = None,
    brand_id: Annotated[Optional[str], _option("Over INTILERY_BRAND_ID.")] = None,
    endpoint: Annotated[Optional[str], _option("Over INTILERY_ENDPOINT.")] = None,
) -> None:
    connection: dict[str, Any] = {
        "client_id": client_id,
        "account_id": account_id,
        "brand_id": brand_id,
        "endpoint": endpoint,
        "plan": plan,
        "plan_mode": "reject" if plan is not None else None,
        "dry_run": True if dry_run else None,
    }
    options: dict[str, Any] = {
        "action": action,
        "event": event,
        "event_column": event_column,
        "user_id": user_id,
        "anonymous_id": anonymous_id,
        "timestamp": timestamp,
        "timestamp_format": timestamp_format,
        "timezone": timezone,
        "message_id": message_id,
        "properties": properties.split(",") if properties is not None else None,
        "exclude": exclude.split(",") if exclude is not None else None,
        "sql": sql,
        "mapping": mapping,
        "format": format,
        "delimiter": delimiter,
        "source_id": source_id,
        "on_invalid": on_invalid,
        "rejects": rejects,
        "limit": limit,
    }
    report = _Report(as_json, dry_run)
    logging.getLogger("intilery").addHandler(report)
    with contextlib.ExitStack() as stack:
        given: Optional[str] = source
        if source == "-":
            given = stack.enter_context(_standard_input(format))
            options["source_id"] = source_id or ""
            options["rejects"] = rejects or Path("intilery-rejects.ndjson")
        if not no_checkpoint:
            options["checkpoint"] = checkpoint if checkpoint or source in (None, "-") else True
        try:
            client = Client.from_env(**{name: value for name, value in connection.items() if value is not None})
            stack.callback(client.close, 0)
            run = Run(client, given, options)
        except (IntileryError, ImportError, OSError) as error:
            report.refuse(error)
            raise typer.Exit(EXIT_USAGE) from None
        raise typer.Exit(_follow(client, run, report))


@contextlib.contextmanager
def _standard_input(format: Optional[str]) -> Iterator[str]:
    """A file with all of it: what cannot be read twice cannot be checked before it is sent."""
    with tempfile.NamedTemporaryFile(prefix="intilery-", suffix=f".{format or 'ndjson'}") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield file.name


class _Terminated(KeyboardInterrupt):
    pass


def _terminate(*_: object) -> None:
    raise _Terminated


def _follow(client: Client, run: Run, report: "_Report") -> int:
    code = 0
    why: Optional[BaseException] = None
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with report.live():
            for sent in run.steps():
                report.show(sent, client)
                if client.stats().state == "paused: auth":
                    raise IntileryError("the service refuses the token (403): set INTILERY_AUTH_TOKEN", code="auth")
    except KeyboardInterrupt as ended:
        code = 143 if isinstance(ended, _Terminated) else 130
        why = IntileryError("interrupted")
    except (IntileryError, OSError) as error:
        code, why = EXIT_STOPPED, error
    # What is on its way gets its fate now, or is sent again by the next run. The report says how much that is.
    logging.getLogger("intilery").setLevel(logging.CRITICAL)
    client.close(timeout=0 if client.stats().state == "paused: auth" else 2)
    try:
        run.close()
    except (IntileryError, OSError) as error:
        code, why = code or EXIT_STOPPED, why or error
    sent = run.sent()
    if code == 0 and sent.delivered < sent.rows:
        code = EXIT_INCOMPLETE
    report.finish(sent, run, why, code)
    return code


class _Report(logging.Handler):
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


def main(arguments: list[str]) -> int:
    try:
        app(args=arguments, prog_name="intilery")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
