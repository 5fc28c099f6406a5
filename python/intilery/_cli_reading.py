"""The commands `intilery events` and `intilery profile`."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Optional

import typer
from rich.cells import set_cell_size

from . import Client, ConfigurationError, Event, IntileryError, Profile, TimeoutError, ValidationError
from ._cli_flags import EXIT_STOPPED, EXIT_USAGE, AccountFlags, Json, option, with_flags
from ._native import printable

EXIT_NOBODY = 1
EXIT_INTERRUPTED = 130

_ACCOUNT = """The account comes from INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID, INTILERY_BRAND_ID and INTILERY_AUTH_TOKEN.
Reading counts against the account's rate, and keeps to it.
"""

_LIST_HELP = f"""Show events, the newest first.

{_ACCOUNT}
In a terminal each event is a line that is cut to fit; into a pipe its fields are separated by tabs, and nothing is cut.
With --json each line is the event as the service has it.

  intilery events list --user-id ABC/123 --start 2024-07-01T00:00:00Z --include "Order Completed" --json

Exit codes: 0 all was shown; 2 the command makes no sense; 3 reading failed; 130 Ctrl-C.
"""

_TAIL_HELP = f"""Show the last events, and each new one as it comes, until Ctrl-C.

{_ACCOUNT}
New is what was not shown before: an event that says it happened long ago is met only if no more than 100 have happened
since.

Exit codes: 0 Ctrl-C; 2 the command makes no sense; 3 reading failed.
"""

_GET_HELP = f"""Show what the service knows of a customer: by user id, by email, or by its own id.

{_ACCOUNT}
With --json each line is a profile: several customers may have one email.

Exit codes: 0 shown; 1 the service knows nobody by that; 2 the command makes no sense; 3 reading failed; 130 Ctrl-C.
"""

events_app = typer.Typer(help="Read events back.", no_args_is_help=True, rich_markup_mode=None)
profile_app = typer.Typer(help="Read customers back.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(events_app, name="events")
    app.add_typer(profile_app, name="profile")


_UserId = Annotated[Optional[str], option("Only this user's events.")]
_Include = Annotated[Optional[list[str]], option("Only events of this name; may be given again.")]
_Exclude = Annotated[Optional[list[str]], option("No events of this name; may be given again.")]


@events_app.command("list", help=_LIST_HELP)
@with_flags
def list_events(
    user_id: _UserId = None,
    *,
    email: Annotated[Optional[str], option("Only events of the customers with this email.")] = None,
    start: Annotated[Optional[str], option("Not before: ISO-8601 with a zone, 2024-07-05T11:00:00Z.")] = None,
    end: Annotated[Optional[str], option("Not after.")] = None,
    include: _Include = None,
    exclude: _Exclude = None,
    limit: Annotated[Optional[int], option("Not more than so many. Default: 100.", min=1)] = None,
    every: Annotated[bool, option("However many there are.", "--all")] = False,
    oldest_first: Annotated[bool, option("The oldest first.", "--oldest-first")] = False,
    as_json: Json = False,
    account: AccountFlags,
) -> None:
    with reading_client("events list", as_json, account) as client:
        show = _Events(as_json)
        for event in client.events(
            user_id,
            email,
            include=include,
            exclude=exclude,
            start=start,
            end=end,
            sort="asc" if oldest_first else "desc",
            limit=limit or (None if every else 100),
        ):
            show(event)


@events_app.command("tail", help=_TAIL_HELP)
@with_flags
def tail(
    user_id: _UserId = None,
    *,
    include: _Include = None,
    exclude: _Exclude = None,
    lines: Annotated[int, option("Show so many of those that are there. Default: 10.", "--lines", "-n", min=0)] = 10,
    interval: Annotated[float, option("Seconds between two looks. Default: 2.", min=0.1)] = 2,
    as_json: Json = False,
    account: AccountFlags,
) -> None:
    with reading_client("events tail", as_json, account, interrupted=0) as client:
        show = _Events(as_json)
        for event in _follow(client, {"user_id": user_id, "include": include, "exclude": exclude}, lines, interval):
            show(event)


@profile_app.command("get", help=_GET_HELP)
@with_flags
def get_profile(
    user_id: Annotated[Optional[str], typer.Argument(help="The user id.", show_default=False)] = None,
    *,
    email: Annotated[Optional[str], option("By email, in place of the user id.")] = None,
    id: Annotated[Optional[str], option("By the service's own id.")] = None,
    as_json: Json = False,
    account: AccountFlags,
) -> None:
    with reading_client("profile get", as_json, account) as client:
        if email is not None and user_id is None and id is None:
            found = list(client.profiles(email))
        else:
            profile = client.profile(user_id, email, id=id)
            found = [] if profile is None else [profile]
        for profile in found:
            _show_profile(profile, as_json)
        if not found:
            _complain("profile get", as_json, "the service knows nobody by that", "not_found", EXIT_NOBODY)


@contextlib.contextmanager
def reading_client(
    command: str,
    as_json: bool,
    account: AccountFlags,
    interrupted: int = EXIT_INTERRUPTED,
) -> Iterator[Client]:
    """A client for one command, which ends with the exit code of what goes wrong."""
    logs = logging.StreamHandler()
    logs.setFormatter(logging.Formatter("intilery: %(message)s"))
    logging.getLogger("intilery").addHandler(logs)
    # Whoever started this may ignore it.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with contextlib.ExitStack() as stack:
            client = Client.from_env(**account.given())
            stack.callback(client.close, 0)
            yield client
            sys.stdout.flush()
    except (ConfigurationError, ValidationError) as error:
        _complain(command, as_json, str(error), error.code, EXIT_USAGE)
    except IntileryError as error:
        _complain(command, as_json, str(error), error.code, EXIT_STOPPED)
    except KeyboardInterrupt:
        raise typer.Exit(interrupted) from None
    except BrokenPipeError:  # whoever read it has seen enough; Python's own last flush must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(command: str, as_json: bool, message: str, code: str, exit_code: int) -> None:
    if as_json:
        print(json.dumps({"error": message, "code": code, "exit_code": exit_code}))
    else:
        print(f"intilery {command}: {message}", file=sys.stderr)
    raise typer.Exit(exit_code)


def _follow(client: Client, query: dict[str, Any], lines: int, interval: float) -> Iterator[Event]:
    page = 100
    known: dict[str, None] = {}  # in the order in which they were last seen
    first = list(client.events(**query, limit=page + lines))
    known.update((event.event_id, None) for event in first)
    yield from reversed(first[:lines])
    while True:
        sys.stdout.flush()
        time.sleep(interval)
        new: list[Event] = []
        in_a_row = 0
        with contextlib.suppress(TimeoutError):  # what was found so far is shown, the rest found next time
            for event in client.events(**query):
                in_a_row = in_a_row + 1 if event.event_id in known else 0
                if in_a_row == 0:
                    new.append(event)
                known.pop(event.event_id, None)
                known[event.event_id] = None
                if in_a_row == page:
                    break
        while len(known) > 500 * page:
            del known[next(iter(known))]
        yield from reversed(new)


def _iso(moment: Optional[datetime]) -> Optional[str]:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: Any) -> str:
    """A value on one line, safe for a terminal whatever it holds."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


class _Events:
    """Writes events to standard output."""

    _WIDTHS = (24, 24, 20)

    def __init__(self, as_json: bool) -> None:
        self._json = as_json
        self._is_terminal = sys.stdout.isatty()
        self._has_head = as_json or not self._is_terminal

    def __call__(self, event: Event) -> None:
        if self._json:
            print(
                json.dumps(
                    {
                        "eventId": event.event_id,
                        "eventTime": _iso(event.event_time),
                        "receivedTime": _iso(event.received_time),
                        "eventAction": event.action,
                        "clientId": event.client_id,
                        "accountId": event.account_id,
                        "brandId": event.brand_id,
                        "userId": event.user_id,
                        "rawData": event.raw_data,
                    }
                )
            )
            return
        if not self._has_head:
            self._line(["TIME", "EVENT", "USER", "DATA"])
            self._has_head = True
        raw = event.raw_data
        data = raw.get("properties") or raw.get("traits") or {}
        self._line([_text(value) for value in (_iso(event.event_time) or "", event.name, event.user_id or "", data)])

    def _line(self, cells: list[str]) -> None:
        if not self._is_terminal:
            print("\t".join(cells))
            return
        line = " ".join(set_cell_size(cell, width) for cell, width in zip(cells, self._WIDTHS)) + " " + cells[-1]
        print(set_cell_size(line, shutil.get_terminal_size().columns).rstrip())


def _show_profile(profile: Profile, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"id": profile.id, "userId": profile.user_id, "traits": profile.traits, "meta": profile.meta}))
        return
    print(f"user {_text(profile.user_id or '(none)')}")
    for title, members in (("traits", profile.traits), ("meta", profile.meta)):
        if members:
            print(title)
        for name, value in members.items():
            print(f"  {set_cell_size(_text(name), max(20, len(name)))}  {_text(value)}")
