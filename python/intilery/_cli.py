"""The command line: what `intilery` knows. Loaded only where typer and rich are installed.

Each command is in a module of its own, `_cli_*.py`.
"""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import signal
import sys
from typing import Annotated

import typer

from . import __version__, _cli_doctor, _cli_plan, _cli_reading, _cli_send, _cli_spool, _cli_verify

app = typer.Typer(
    name="intilery",
    help="Tools for the Intilery event API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_cli_reading.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("send", help=_cli_send.SEND_HELP)(_cli_send.send)
app.command("validate", help=_cli_send.VALIDATE_HELP)(_cli_send.validate)
app.command("verify", help=_cli_verify.HELP)(_cli_verify.verify)
app.add_typer(_cli_spool.spool, name="spool")
app.command("doctor", help=_cli_doctor.HELP)(_cli_doctor.doctor)
app.add_typer(_cli_plan.app)


@app.command("sandbox", context_settings={"ignore_unknown_options": True}, add_help_option=False)
def _sandbox_command() -> None:
    """Run a stand-in for the service."""  # __main__ runs it


def _interrupt(*_: object) -> None:
    sys.exit(130)


def main(arguments: list[str]) -> int:
    # Instead of a KeyboardInterrupt, of which typer would make an exit code of 1. Whoever started this may ignore it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        app(args=arguments, prog_name="intilery")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
