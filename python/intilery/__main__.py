"""`intilery send`, `intilery sandbox`; also as `python -m intilery`."""

from __future__ import annotations

import argparse
import sys

from . import __version__


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] != ["sandbox"]:
        try:
            from . import _cli
        except ImportError:
            if arguments[:1] == ["send"]:
                print("intilery send needs typer and rich: pip install 'intilery[cli]'", file=sys.stderr)
                return 2
        else:
            return _cli.main(arguments)
    # The sandbox needs nothing that is not in this package.
    parser = argparse.ArgumentParser(prog="intilery", description="Tools for the Intilery event API.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser(
        "sandbox", add_help=False, help="run a stand-in for the service; `intilery sandbox --help` has its options"
    )
    _, rest = parser.parse_known_args(arguments)
    from . import _sandbox  # loads an HTTP server

    return _sandbox.run_command("intilery sandbox", rest)


if __name__ == "__main__":
    sys.exit(main())
