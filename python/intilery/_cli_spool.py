"""`intilery spool …`: looking after a spool folder."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import datetime
import functools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Callable, Optional

import typer

from . import IntileryError, _native
from ._cli_flags import EXIT_INCOMPLETE, EXIT_USAGE, FlagSet, Json, complain, option, refuse, with_flags

spool = typer.Typer(
    help="Look after what waits on disk, and dead letters.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[
    Path, typer.Argument(help="The spool_path of a client.", envvar="INTILERY_SPOOL_PATH", show_default=False)
]
Waiting = Annotated[bool, option("Also the events that wait for their delivery.", "--waiting")]


@dataclass
class LetterFlags(FlagSet):
    """Which dead letters."""

    reason: Annotated[Optional[str], option("Only those that failed for this reason, such as rejected.")] = None
    user_id: Annotated[Optional[str], option("Only this user's.")] = None
    message_id: Annotated[Optional[str], option("Only the one with this message id.")] = None

    def native(self) -> _native.LetterFilter:
        return _native.LetterFilter(self.reason or "", self.user_id or "", self.message_id or "")


def _command(work: Callable[..., None]) -> Callable[..., None]:
    """As typer is to see it. What goes wrong is told, and not with a trace."""

    @functools.wraps(work)
    def run(**given: Any) -> None:
        try:
            work(**given)
        except (IntileryError, OSError) as error:
            raise refuse(f"spool {work.__name__}", error, given.get("as_json", False)) from None

    return with_flags(run)


@spool.command("status")
@_command
def status(folder: Folder, *, as_json: Json = False) -> None:
    """Say what waits, and what failed for good.

    Shows nothing of what the events hold, and works beside living clients.
    """
    found = json.loads(_native.spool_status(str(folder)))
    if as_json:
        print(json.dumps(found))
        return
    files = found["files"]
    waiting = sum(file["events"] or 0 for file in files)
    print(
        f"{folder}: {_events(waiting)} wait{'s' if waiting == 1 else ''}, {_size(sum(file['bytes'] for file in files))}"
    )
    for account in sorted({_account(file) for file in files}):
        if account:
            print(f"{account}:")
        _print_table(
            ("events", "oldest", "size", "client", "file"),
            [_row(file) for file in files if _account(file) == account],
        )
    letters = found["dead_letters"]
    print(f"{_letters(letters['count'])}, {_size(letters['bytes'])}")
    _print_table(("count", "reason"), [(f"{count:,}", reason) for reason, count in letters["reasons"].items()])
    if found["damaged"]:
        print("Damaged, and set aside; what could be read in them has gone on:")
        _print_table(("size", "file"), [(_size(file["bytes"]), file["file"]) for file in found["damaged"]])
    if any(not file["held"] and file["events"] for file in files):
        print("What a client that is gone left, the next client of its account takes over when it starts.")


def _account(file: dict[str, Any]) -> str:
    if not file["account"]:
        return ""
    *who, endpoint = file["account"]
    return str(_native.printable(f"{'/'.join(who)} at {endpoint}"))


def _row(file: dict[str, Any]) -> tuple[str, ...]:
    client = (f"pid {file['pid']}" if file["pid"] else "alive") if file["held"] else "gone"
    waiting = f"{file['events']:,}" if file["state"] == "ok" else file["state"]
    return (waiting, _age(file["oldest"]), _size(file["bytes"]), client, file["file"])


@spool.command("retry")
@_command
def retry(folder: Folder, *, letters: LetterFlags, as_json: Json = False) -> None:
    """Have dead letters sent again.

    The next client of their account that starts with this folder sends them, with the same message ids.
    """
    moved, unknown = _native.spool_retry(str(folder), letters.native())
    if as_json:
        print(json.dumps({"retried": moved, "unknown_account": unknown}))
    else:
        print(f"{_events(moved)} wait{'s' if moved == 1 else ''} again, for the next client that starts")
        if unknown:
            complain(
                f"{_events(unknown)} of an older version stay dead letters: they do not say whose they are. "
                "`intilery spool export` gives them."
            )
    if unknown:
        raise typer.Exit(EXIT_INCOMPLETE)


@spool.command("export")
@_command
def export(
    folder: Folder,
    *,
    letters: LetterFlags,
    waiting: Waiting = False,
    output: Annotated[Optional[Path], option("A file, which only you may read. Default: standard output.")] = None,
) -> None:
    """Write dead letters as lines of JSON.

    Each has the event as it was to be sent, and brand, reason, message, status, attempts and time.
    """
    _check(letters, waiting, "export")
    with _writer(output) as write:
        unread = _native.spool_export(str(folder), letters.native(), waiting, write)
    for file in unread:
        complain(f"intilery spool export: {file} cannot be read to its end")
    if unread:
        raise typer.Exit(EXIT_INCOMPLETE)


@spool.command("purge")
@_command
def purge(
    folder: Folder,
    *,
    letters: LetterFlags,
    waiting: Waiting = False,
    yes: Annotated[bool, option("Do not ask.", "--yes")] = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters.

    Asks before. What waits is deleted only with --waiting, and never from under a living client.
    """
    _check(letters, waiting, "purge")
    if not yes:
        if not sys.stdin.isatty():
            raise IntileryError("nobody is here to be asked: give --yes", code="confirm")
        found = json.loads(_native.spool_status(str(folder)))
        left = sum(file["events"] or 0 for file in found["files"] if not file["held"]) if waiting else 0
        what = "the chosen dead letters" if letters.given() else _letters(found["dead_letters"]["count"])
        also = f" and {_events(left)} that wait" if waiting else ""
        if not typer.confirm(f"Delete {what}{also}? This cannot be undone."):
            raise typer.Exit(EXIT_USAGE)
    purged = json.loads(_native.spool_purge(str(folder), letters.native(), waiting))
    if as_json:
        print(json.dumps(purged))
    else:
        also = f", {_events(purged['waiting'])} that waited" if waiting else ""
        print(f"deleted: {_letters(purged['dead_letters'])}{also}")
        for file in purged["held"]:
            holder = f"process {file['pid']}" if file["pid"] else "a living process"
            complain(f"intilery spool purge: {holder} has {file['file']}; it is left alone")
    if purged["held"]:
        raise typer.Exit(EXIT_INCOMPLETE)


def _check(letters: LetterFlags, waiting: bool, command: str) -> None:
    if waiting and letters.given():
        raise IntileryError(f"--waiting is for all: {command} takes no choice of dead letters with it", code="usage")


@contextlib.contextmanager
def _writer(output: Optional[Path]) -> Iterator[Callable[[bytes], object]]:
    if output is None:
        yield lambda line: sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()
        return
    with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        if output.is_file():  # no pipe
            output.chmod(0o600)  # it may have been there
        yield lambda line: file.write(line + b"\n")


def _print_table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    rows = [tuple(map(_native.printable, row)) for row in rows]  # anybody may have named a file
    widths = [max(len(cell) for cell in column) for column in zip(names, *rows)]
    for row in (names, *rows):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _events(count: int) -> str:
    return f"{count:,} event" + ("" if count == 1 else "s")


def _letters(count: int) -> str:
    return f"{count:,} dead letter" + ("" if count == 1 else "s")


def _size(bytes: float) -> str:
    if bytes < 1_000:
        return f"{bytes:.0f} B"
    for unit in ("kB", "MB"):
        bytes /= 1_000
        if bytes < 1_000:
            return f"{bytes:.3g} {unit}"
    return f"{bytes / 1_000:.3g} GB"


def _age(moment: Optional[str]) -> str:
    if moment is None:
        return ""
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(
        moment.replace("Z", "+00:00")
    )
    seconds = max(0, int(since.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
