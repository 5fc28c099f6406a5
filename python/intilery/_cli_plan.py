"""The command line: `intilery plan`."""

# No `from __future__ import annotations`: typer reads these annotations, in Python 3.9 too.

import contextlib
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer

from . import Client, ConfigurationError, ValidationError, Violation, _codegen
from . import _plans as plans
from ._cli_flags import AccountFlags
from ._cli_reading import reading_client
from ._native import printable

EXIT_FOUND = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="plan",
    help="Tracking plans: which events there are, and what each one holds. docs/plans.md says what a plan is.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Plan = Annotated[Path, typer.Argument(help="A tracking plan, JSON or YAML.", show_default=False)]
_Events = Annotated[str, typer.Argument(help="A file with one message a line, as `send` takes it; or -.")]
_Json = Annotated[bool, typer.Option("--json", help="Report in JSON, one line each, for programs.")]


@app.command()
def lint(plan: _Plan, as_json: _Json = False) -> None:
    """Say what is wrong with a plan, and what is hardly meant.

    Mistakes, and then: names against the conventions (Title Case, an object and an action; snake_case for properties),
    rules that no value can meet or that never apply.

    Exit codes: 0 nothing; 1 something that is hardly meant; 2 a mistake: the plan cannot be loaded.
    """
    _, problems = plans.read(str(plan))
    for problem in problems:
        if as_json:
            print(json.dumps({"file": str(plan), **problem._asdict()}, ensure_ascii=False))
        else:
            print(_line(plan, problem))
    if problems:
        raise typer.Exit(EXIT_USAGE if any(problem.fatal for problem in problems) else EXIT_FOUND)


@app.command()
def test(plan: _Plan, events: _Events, as_json: _Json = False) -> None:
    """Check events against a plan, and send nothing.

    A line is a message as `send` takes it, or an event as it was read back (its `rawData`). With --json each becomes
    {"line": 1, "valid": false, "errors": [{"code", "path", "message"}]}; else only those are shown that break the plan.

    Exit codes: 0 every event fits the plan; 1 some do not; 2 the plan or the file cannot be read.
    """
    try:
        client = Client(
            client_id="plan", account_id="plan", brand_id="PLAN", auth_token="none", dry_run=True, allow_anonymous=True,
            plan=plan, plan_mode="reject",
        )  # fmt: skip
    except ConfigurationError as error:
        _fail(str(error))
    checked = wrong = 0
    with client:
        for number, text in _lines(events):
            checked += 1
            errors = _errors(client, text)
            wrong += bool(errors)
            if as_json:
                print(json.dumps({"line": number, "valid": not errors, "errors": errors}, ensure_ascii=False))
            else:
                for each in errors:
                    print(printable(f"{events}:{number}: {each['message']} ({each['code']})"))
    if not as_json:
        print(f"{checked} events, {wrong} of which break the plan", file=sys.stderr)
    if wrong:
        raise typer.Exit(EXIT_FOUND)


def _errors(client: Client, text: str) -> list[dict[str, str]]:
    try:
        client.send(_message(text))
    except ValidationError as error:
        found = error.errors or [Violation(error.code, error.path, "", str(error))]
        return [{"code": each.code, "path": each.path, "message": each.message} for each in found]
    return []


@app.command()
def infer(
    events: Annotated[
        Optional[str], typer.Argument(help="A file with one message a line, as `send` takes it; or -.")
    ] = None,
    output: Annotated[
        Optional[Path], typer.Option(help="A file: .json, or else YAML. Default: to standard output.")
    ] = None,
    from_account: Annotated[bool, typer.Option("--from-account", help="Read the account's events back.")] = False,
    limit: Annotated[
        Optional[int], typer.Option(help="Of the account: the newest so many. Default: 10000.", min=1)
    ] = None,
    since: Annotated[
        Optional[str], typer.Option(help="Of the account: not before, ISO-8601 with a zone, 2024-07-05T11:00:00Z.")
    ] = None,
) -> None:
    """Make a plan from real events: the types that were met, and as required what every event of a name had.

    The account comes from INTILERY_CLIENT_ID, INTILERY_ACCOUNT_ID, INTILERY_BRAND_ID and INTILERY_AUTH_TOKEN.

    Exit codes: 0 the plan was written; 2 the events cannot be read, or the command makes no sense; 3 reading back
    failed; 130 Ctrl-C.
    """
    if from_account == (events is not None):
        _fail("give either EVENTS or --from-account")
    if not from_account and (limit is not None or since is not None):
        _fail("--limit and --since go with --from-account")

    def messages() -> Iterator[dict[str, Any]]:
        for number, text in _lines(str(events)):
            try:
                message = _message(text)
                if not _is_planned(message):
                    raise ValueError
            except (ValidationError, ValueError, KeyError, TypeError):
                _fail(f"{events}:{number}: is no message with an action (and, to track, an event)")
            yield message

    if from_account:
        with reading_client("plan infer", False, AccountFlags()) as client:
            found = (event.raw_data for event in client.events(start=since, limit=limit or 10_000))
            plan = plans.infer(message for message in found if _is_planned(message))
    else:
        plan = plans.infer(messages())
    if output is not None and output.suffix == ".json":
        text = json.dumps(plan, indent=2, ensure_ascii=False) + "\n"
    else:
        import yaml

        text = yaml.safe_dump(plan, sort_keys=False, allow_unicode=True)
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


class _Language(str, Enum):
    python = "python"
    typescript = "typescript"
    cpp = "cpp"


@app.command()
def codegen(
    plan: _Plan,
    lang: Annotated[_Language, typer.Option(help="For which language.", show_default=False)],
    output: Annotated[Optional[Path], typer.Option(help="A file. Default: to standard output.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say whether --output is up to date.")] = False,
) -> None:
    """Make a client from a plan: a function and a type for each event, which a type checker holds you to.

    Exit codes: 0 it was written, or is up to date; 1 with --check: it is not; 2 the plan cannot be used, or a
    generator is missing.
    """
    if check and output is None:
        _fail("--check compares with --output FILE")
    document, problems = plans.read(str(plan))
    if document is None:
        _fail(_line(plan, next(problem for problem in problems if problem.fatal)))
    try:
        text = _codegen.generate(document, plan, lang.value)
        if output is None:
            print(text, end="")
        elif not check:
            output.write_text(text, encoding="utf-8")
        elif not output.exists() or output.read_bytes() != text.encode():
            print(
                f"{output} is not what {plan} makes: intilery plan codegen without --check writes it", file=sys.stderr
            )
            raise typer.Exit(EXIT_FOUND)
    except _codegen.CodegenError as error:
        _fail(f"{plan}: {error}")
    except OSError as error:
        _fail(f"{output}: {error.strerror}")


@app.command()
def diff(old: _Plan, new: _Plan, as_json: _Json = False) -> None:
    """Say how a plan differs from an older one, and whether that breaks events which fit the older one.

    A property that is newly described breaks nothing, unless it is required.

    Exit codes: 0 nothing breaks; 1 something does; 2 a plan cannot be loaded.
    """
    documents: list[dict[str, Any]] = []
    for path in (old, new):
        document, problems = plans.read(str(path))
        if document is None:
            _fail(_line(path, next(problem for problem in problems if problem.fatal)))
        documents.append(document)
    changes = plans.diff(*documents)
    for change in changes:
        if as_json:
            print(json.dumps(change._asdict(), ensure_ascii=False))
        else:
            print(printable(f"{'breaking' if change.breaking else 'harmless'}  {change.pointer}: {change.message}"))
    if any(change.breaking for change in changes):
        raise typer.Exit(EXIT_FOUND)


def _line(path: Path, problem: plans.Problem) -> str:
    line = f"{problem.line}:" if problem.line else ""
    pointer = f" {problem.pointer}" if problem.pointer else ""
    return printable(f"{path}:{line}{pointer} {problem.message} ({problem.code})")


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with contextlib.nullcontext(sys.stdin) if path == "-" else open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{path}: {error.strerror if isinstance(error, OSError) else 'is not UTF-8'}")


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text, parse_float=Decimal)  # exactly
    except ValueError:
        raise ValidationError("the line is no JSON", code="invalid_json") from None
    if isinstance(message, dict) and isinstance(message.get("rawData"), dict):
        message = message["rawData"]
    return message  # type: ignore[no-any-return]  # what is no object, `send` refuses


def _is_planned(message: dict[str, Any]) -> bool:
    return message["action"] in ("identify", "page", "screen") or (
        message["action"] == "track" and bool(message["event"])
    )


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(EXIT_USAGE)
