"""`intilery send`."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from . import Client, IntileryError
from ._cli_flags import EXIT_INCOMPLETE, EXIT_STOPPED, EXIT_USAGE, option
from ._cli_report import Report
from ._send_many import Run

HELP = """Send each row of a file, or of a query, as an event, and wait until each has its fate.

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


def send(
    source: Annotated[Optional[str], typer.Argument(help="A file, or -.", show_default=False)] = None,
    action: Annotated[Optional[str], option("track (default), identify, page or screen.")] = None,
    event: Annotated[Optional[str], option("The name of every event.")] = None,
    event_column: Annotated[Optional[str], option("The column that has each event's name.")] = None,
    user_id: Annotated[Optional[str], option("The column of the user ids.")] = None,
    anonymous_id: Annotated[Optional[str], option("The column of the ids of unknown visitors.")] = None,
    timestamp: Annotated[Optional[str], option("The column that says when it happened.")] = None,
    timestamp_format: Annotated[Optional[str], option('How that is written, if not ISO-8601: "%d/%m/%Y".')] = None,
    timezone: Annotated[Optional[str], option("Of timestamps that name none: UTC, Europe/London …")] = None,
    message_id: Annotated[Optional[str], option("The column of the message ids. Default: made from the row.")] = None,
    properties: Annotated[Optional[str], option("Only these columns become properties: a,b,c.")] = None,
    exclude: Annotated[Optional[str], option("These columns do not: a,b,c.")] = None,
    sql: Annotated[Optional[str], option("Send this query's rows; in it, SOURCE is the table `source`.")] = None,
    mapping: Annotated[Optional[Path], option("A YAML or JSON file with the options above.")] = None,
    format: Annotated[Optional[str], option("csv, tsv, ndjson, parquet or lines, if the name does not tell.")] = None,
    delimiter: Annotated[Optional[str], option("Of CSV, if the header does not tell.")] = None,
    source_id: Annotated[Optional[str], option("Goes into the message ids. Default: the file's name.")] = None,
    on_invalid: Annotated[str, option("A row that can be no event: reject (default) or stop.")] = "reject",
    rejects: Annotated[Optional[Path], option("The reject file. Default: SOURCE.rejects.ndjson.")] = None,
    checkpoint: Annotated[Optional[Path], option("Default: SOURCE.checkpoint.")] = None,
    no_checkpoint: Annotated[bool, option("Begin at the first row, and remember nothing.", "--no-checkpoint")] = False,
    limit: Annotated[Optional[int], option("Send the first rows only.", min=0)] = None,
    dry_run: Annotated[bool, option("Check every row, and send nothing.", "--dry-run")] = False,
    as_json: Annotated[bool, option("Report in JSON, for programs.", "--json")] = False,
    client_id: Annotated[Optional[str], option("Over INTILERY_CLIENT_ID.")] = None,
    account_id: Annotated[Optional[str], option("Over INTILERY_ACCOUNT_ID.")] = None,
    brand_id: Annotated[Optional[str], option("Over INTILERY_BRAND_ID.")] = None,
    endpoint: Annotated[Optional[str], option("Over INTILERY_ENDPOINT.")] = None,
) -> None:
    connection: dict[str, Any] = {
        "client_id": client_id,
        "account_id": account_id,
        "brand_id": brand_id,
        "endpoint": endpoint,
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
    report = Report(as_json, dry_run)
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


def _follow(client: Client, run: Run, report: Report) -> int:
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
