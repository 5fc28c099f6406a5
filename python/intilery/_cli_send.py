"""`intilery send` and `intilery validate`."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Annotated, Any, Optional

import typer

from . import Client, IntileryError, _native
from ._cli_flags import EXIT_INCOMPLETE, EXIT_STOPPED, AccountFlags, Json, RowFlags, option, refuse, with_flags
from ._cli_report import Report
from ._send_many import Run
from ._sources import merge

_SOURCE = """\
SOURCE is a CSV, TSV, NDJSON or Parquet file (plain, .gz or .zst), or - for standard input. Without options for them,
the columns user_id, anonymous_id, event, timestamp and message_id are used where they exist; all other columns become
the event's properties (traits, with --action identify)."""

SEND_HELP = f"""Send each row of a file or a query as an event.

Waits until each has its fate.

{_SOURCE}

The account comes from INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID, INTILERY_BRAND_ID and INTILERY_AUTH_TOKEN; every other
option of the client has its variable, too, such as INTILERY_RATE_LIMIT.

A run that was ended, by kill -9 too, goes on where it was when the same command is given again.

  intilery send orders.csv --event "Order Completed" --user-id customer --timestamp ordered_at --timezone Europe/London

Exit codes: 0 every row was delivered; 1 some were rejected or failed, and are in the reject file; 2 the command does
not fit the source, nothing was sent; 3 the run was stopped before its end; 130 Ctrl-C, 143 terminated.
"""

VALIDATE_HELP = f"""Check each row as `send` would, offline.

Needs no account and no network.

{_SOURCE}

  intilery validate orders.csv --event "Order Completed" --user-id customer

Exit codes: 0 every row is valid; 1 some are not, and are in the reject file; 2 the command does not fit the source;
3 the first mistake, with --on-invalid stop, or a source that broke off; 130 Ctrl-C, 143 terminated.
"""

_Source = Annotated[Optional[str], typer.Argument(help="A file, or -.", show_default=False)]


@with_flags
def send(
    source: _Source = None,
    *,
    rows: RowFlags,
    rejects: Annotated[Optional[str], option("The reject file. Default: SOURCE.rejects.ndjson.")] = None,
    checkpoint: Annotated[Optional[str], option("Default: SOURCE.checkpoint.")] = None,
    no_checkpoint: Annotated[bool, option("Begin at the first row, and remember nothing.", "--no-checkpoint")] = False,
    dry_run: Annotated[bool, option("Check every row, and send nothing.", "--dry-run")] = False,
    as_json: Json = False,
    account: AccountFlags,
) -> None:
    given = {**rows.given(), "rejects": rejects, "checkpoint": checkpoint}
    connection = {**account.given(), **rows.client_options(), **({"dry_run": True} if dry_run else {})}
    report = Report("send", "dry run" if dry_run else "send", as_json)
    _run(report, source, given, connection, None if no_checkpoint else source not in (None, "-"))


@with_flags
def validate(
    source: _Source = None,
    *,
    rows: RowFlags,
    rejects: Annotated[Optional[str], option("The reject file. Default: SOURCE.invalid.ndjson.")] = None,
    as_json: Json = False,
) -> None:
    nobody = {"client_id": "nobody", "account_id": "nobody", "brand_id": "NOBODY", "auth_token": "none"}
    report = Report("validate", "validate", as_json)
    _run(report, source, {**rows.given(), "rejects": rejects}, {**nobody, **rows.client_options(), "dry_run": True}, None)


def _run(
    report: Report,
    source: Optional[str],
    given: dict[str, Any],
    connection: dict[str, Any],
    checkpoint: Optional[bool],
) -> None:
    """Args:
    checkpoint: None: there shall be none. True: beside the source, if nothing else is said.
    """
    logging.getLogger("intilery").addHandler(report)
    with contextlib.ExitStack() as stack:
        try:
            options = merge(given)
            path = source
            if source == "-":
                path = stack.enter_context(_standard_input(options.get("format")))
                options.setdefault("source_id", "")
                name = "intilery-invalid.ndjson" if connection.get("dry_run") else "intilery-rejects.ndjson"
                options.setdefault("rejects", name)
            if checkpoint is None:
                options.pop("checkpoint", None)
            else:
                options.setdefault("checkpoint", checkpoint)
            client = Client.from_env(**connection)
            stack.callback(client.close, 0)
            run = Run(client, path, options)
        except (IntileryError, ImportError, OSError) as error:
            raise refuse(report.command, error, report.as_json) from None
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


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _terminate(*_: object) -> None:
    raise _Terminated


def _follow(client: Client, run: Run, report: Report) -> int:
    code = 0
    why: Optional[BaseException] = None
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with report.live(_native.rate_limit(client)):
            for sent in run.steps():
                report.show(sent, client.stats())
                if client.stats().state == "paused: auth":
                    raise IntileryError(
                        "the service refuses the token (403): check INTILERY_AUTH_TOKEN; `intilery doctor` says more",
                        code="auth",
                    )
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
    report.finish(sent, run.checkpoint, why, code)
    return code
