"""`intilery doctor`."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import json

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import IntileryError
from ._cli_flags import AccountFlags, Json, refuse, with_flags
from ._diagnose import Check, diagnose

HELP = """Find what keeps a client from delivering.

Says what to do about it. Looks at the options, the address, TLS, the token and its rights, the clock, the limits and
the spool, as a client from the environment would have them. Sends no event: it reads one event back, and posts an
empty batch.

Exit codes: 0 a client would deliver, if perhaps with warnings; 1 a check failed; 2 an option cannot be read;
130 Ctrl-C.
"""

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "bright_black"}


@with_flags
def doctor(*, as_json: Json = False, account: AccountFlags) -> None:
    try:
        checks = diagnose(**account.given())
    except IntileryError as error:
        raise refuse("doctor", error, as_json) from None
    failed = [check for check in checks if check.result == "failed"]
    if as_json:
        print(json.dumps({"ok": not failed, "checks": [check._asdict() for check in checks]}))
    else:
        _print(checks)
    raise typer.Exit(1 if failed else 0)


def _print(checks: list[Check]) -> None:
    # Piped, a check stays one line.
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000
    table = Table.grid(padding=(0, 2))
    for check in checks:
        said = Text(check.message)
        if check.advice and check.result != "ok":
            said.append(f"\n-> {check.advice}", style="bold" if check.result == "failed" else "")
        table.add_row(Text(check.result, style=_COLOURS[check.result]), check.name, said)
    console.print(table)
    count = {result: sum(check.result == result for check in checks) for result in _COLOURS}
    if count["failed"]:
        print(f"{_counted(count['failed'], 'check')} failed: a client would not deliver, or not as its options ask.")
    elif count["warning"]:
        print(f"A client would deliver; see the {_counted(count['warning'], 'warning')}.")
    else:
        print("A client would deliver.")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")
