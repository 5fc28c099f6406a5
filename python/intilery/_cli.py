"""The command line: what `intilery` knows. Loaded only where typer and rich are installed.

Each command is in a module of its own, `_cli_*.py`.
"""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

from typing import Annotated

import typer

from . import __version__, _cli_send

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


@app.command("sandbox", context_settings={"ignore_unknown_options": True}, add_help_option=False)
def _sandbox_command() -> None:
    """Run a stand-in for the service; `intilery sandbox --help` has its options."""  # __main__ runs it


app.command("send", help=_cli_send.HELP)(_cli_send.send)


def main(arguments: list[str]) -> int:
    try:
        app(args=arguments, prog_name="intilery")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
