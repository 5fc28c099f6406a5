"""What the commands have in common: how a flag is declared, and the exit codes."""

from typing import Any

import typer

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3


def option(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **more)
