"""Prints docs/command-line.md from the commands: `python packaging/command_table.py > docs/command-line.md`."""

# ruff: noqa: E501 (tables)

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from intilery._cli import app

HEAD = """\
# The command line

`pip install 'intilery[cli]'`. This page is made by `packaging/command_table.py` from the commands themselves.

The account comes from `INTILERY_CLIENT_ID`, `INTILERY_ACCOUNT_ID`, `INTILERY_BRAND_ID` and `INTILERY_AUTH_TOKEN`; every
other option of the client has its variable, too ([options.md](options.md)). The token has no flag: other users of a
machine see the flags of its processes.

| command | |
| --- | --- |
"""

MIDDLE = """\

`npx intilery` has `send` (NDJSON), `sandbox` and `doctor`.

## Exit codes

| code | |
| --- | --- |
| 0 | all is well: every row was delivered, or is valid; every check passed, if perhaps with warnings |
| 1 | not all of it: rows were rejected or failed (see the reject file); a check failed; `spool` left something as it was, and says why |
| 2 | the command makes no sense as given, or does not fit the source; nothing was done |
| 3 | `send`, `validate`: stopped before the end: the token was refused, a row with `--on-invalid stop`, a source that broke off |
| 130, 143 | Ctrl-C, SIGTERM. `send` gives what is under way two seconds, and says how to go on |

With `--json`, standard output is one JSON object, whatever happens: where nothing was done, it has `error`, `code` and
`exit_code`. Progress and complaints go to standard error.

There is no colour, and no display that moves, where the output is no terminal, and no colour with `NO_COLOR`.

## Completion

`intilery --install-completion` lets the shell (bash, zsh, fish) complete commands and flags;
`intilery --show-completion` prints what that would add.

## Before sending: doctor and validate

```sh
intilery doctor
intilery validate orders.csv --event "Order Completed" --user-id customer --timestamp ordered_at --timezone UTC
```

`doctor` looks at each step between a client and the service, on connections of its own, in at most half a minute; the
same in a program is `intilery.diagnose()`, in Node `diagnose()`, in C++ `intilery::diagnose()`. No event is sent: it
reads one event back (`GET v1/events?size=1`), and posts an empty batch. Each check is `ok`, `warning`, `failed` (with
what to do) or `skipped` (does not apply, or cannot be seen).

| check | looks at |
| --- | --- |
| `options` | whether they are complete and make sense; letters that are usually written otherwise (`hea`, `HEA`) |
| `library` | versions of this library and of those under it |
| `open_files` | how many files the process may have open |
| `spool` | whether `spool_path` can be written, and the disk has room |
| `rate_limit_store` | whether Redis answers |
| `proxy` | which one is used, by the names of the variables |
| `address`, `connection`, `tls` | how far a request comes; the certificate's issuer and end, and who vouches for it |
| `token` | whether it may read this account and brand |
| `batch` | whether the service takes batches |
| `clock` | this machine's against the server's; over 30 s is a warning |

`validate` checks each row as `send` would, and needs neither account nor network. What is wrong is in
`orders.csv.invalid.ndjson`, in the form of a reject file ([data.md](data.md)).

A `--mapping FILE` (YAML or JSON) has flags of `send` under their names in Python; what is given as a flag goes over it:

```yaml
event: Order Completed
user_id: customer
timestamp: ordered_at
timezone: Europe/London
exclude: [internal_note]
on_invalid: reject
rejects: bad.ndjson
checkpoint: orders.checkpoint
limit: 100000
```

## Looking after a spool

```sh
intilery spool status /var/spool/shop
intilery spool export /var/spool/shop --reason rejected --output rejected.ndjson
intilery spool retry /var/spool/shop --reason expired
intilery spool purge /var/spool/shop --yes
```

`FOLDER` may come from `INTILERY_SPOOL_PATH`. [spool.md](spool.md) says what lies there.

* `status` shows for each client's file whether its client lives, how many events wait and how old the oldest is; the
  dead letters by reason; files that were set aside as damaged. It shows nothing of what the events hold, takes no lock,
  and works beside living clients: it looks at a copy, which it makes in the folder for temporary files.
* `retry` puts dead letters back to what waits, as a new file of the account's own: the next client of the same account
  that starts sends them, with their message ids. A client that lives already does not see them.
* `export` writes a line for each dead letter: `event` (as it was to be sent), `brand`, `reason`, `message`, `status`,
  `attempts`, `failed_at`; with `--waiting` before them `event`, `brand` and `called_at` of what waits.
* `purge` deletes dead letters, and with `--waiting` also what waits in files that no living client has. A file that one
  has is left alone: the command says which process it is, and ends with 1.

## Flags
"""


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for word, below in command.commands.items():
            yield from walk(below, f"{name} {word}")
    else:
        yield name, command


def first_line(command: Any) -> str:
    return str(command.help).strip().split("\n")[0]


def flags(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield f"| `{parameter.name.upper()}` | {parameter.help} |\n"
        elif parameter.help and not parameter.hidden:
            yield f"| `{', '.join(parameter.opts)}` | {parameter.help} |\n"


def page() -> str:
    commands = list(walk(typer.main.get_command(app), "intilery"))
    parts = [HEAD, *(f"| `{name}` | {first_line(command)} |\n" for name, command in commands), MIDDLE]
    for name, command in commands:
        rows = "".join(flags(command))
        if rows:
            parts.append(f"\n### {name}\n\n| flag | |\n| --- | --- |\n{rows}")
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
