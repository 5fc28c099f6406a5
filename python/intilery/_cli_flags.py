"""What the commands have in common: how flags are declared and shared, the exit codes, and how an error is told."""

import functools
import inspect
import json
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Callable, Optional, get_type_hints

import typer
from rich.console import Console

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_STOPPED = 3


def option(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, show_default=False, **more)


Json = Annotated[bool, option("Report in JSON, for programs.", "--json")]


class FlagSet:
    """Flags that several commands have. A subclass is a dataclass, and the annotation of a command's parameter."""

    def given(self) -> dict[str, Any]:
        """Those that were given, by the names of the library's arguments."""
        return {name: value for name, value in asdict(self).items() if value is not None}  # type: ignore[call-overload]


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """A command as typer is to see it: each parameter that is a FlagSet stands for the flags in it."""
    hints = get_type_hints(command, include_extras=True)
    sets: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and issubclass(hint, FlagSet):
            sets[parameter.name] = hint
            inner = get_type_hints(hint, include_extras=True)
            members = [(field.name, inner[field.name], field.default) for field in fields(hint)]  # type: ignore[arg-type]
        else:
            members = [(parameter.name, hint, parameter.default)]
        for name, annotation, default in members:
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            )

    @functools.wraps(command)
    def run(**values: Any) -> None:
        taken = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)}) for name, kind in sets.items()
        }
        command(**values, **taken)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@dataclass
class AccountFlags(FlagSet):
    """Which account, over the environment."""

    client_id: Annotated[Optional[str], option("Over INTILERY_CLIENT_ID.")] = None
    account_id: Annotated[Optional[str], option("Over INTILERY_ACCOUNT_ID.")] = None
    brand_id: Annotated[Optional[str], option("Over INTILERY_BRAND_ID.")] = None
    endpoint: Annotated[Optional[str], option("Over INTILERY_ENDPOINT.")] = None


@dataclass
class RowFlags(FlagSet):
    """What of a source says what."""

    action: Annotated[Optional[str], option("track (default), identify, page or screen.")] = None
    event: Annotated[Optional[str], option("The name of every event.")] = None
    event_column: Annotated[Optional[str], option("The column that has each event's name.")] = None
    user_id: Annotated[Optional[str], option("The column of the user ids.")] = None
    anonymous_id: Annotated[Optional[str], option("The column of the ids of unknown visitors.")] = None
    timestamp: Annotated[Optional[str], option("The column that says when it happened.")] = None
    timestamp_format: Annotated[Optional[str], option('How that is written, if not ISO-8601: "%d/%m/%Y".')] = None
    timezone: Annotated[Optional[str], option("Of timestamps that name none: UTC, Europe/London …")] = None
    message_id: Annotated[Optional[str], option("The column of the message ids. Default: made from the row.")] = None
    properties: Annotated[Optional[str], option("Only these columns become properties: a,b,c.")] = None
    exclude: Annotated[Optional[str], option("These columns do not: a,b,c.")] = None
    sql: Annotated[Optional[str], option("Take this query's rows; in it, SOURCE is the table `source`.")] = None
    mapping: Annotated[Optional[str], option("A YAML or JSON file with options of this command.")] = None
    format: Annotated[Optional[str], option("csv, tsv, ndjson, parquet or lines, if the name does not tell.")] = None
    delimiter: Annotated[Optional[str], option("Of CSV, if the header does not tell.")] = None
    source_id: Annotated[Optional[str], option("Goes into the message ids. Default: the file's name.")] = None
    on_invalid: Annotated[Optional[str], option("A row that can be no event: reject (default) or stop.")] = None
    limit: Annotated[Optional[int], option("Take the first rows only.", min=0)] = None
    plan: Annotated[Optional[str], option("A tracking plan (JSON, YAML): rows that break it are rejected.")] = None

    def client_options(self) -> dict[str, Any]:
        """What of them is the client's."""
        return {} if self.plan is None else {"plan": self.plan, "plan_mode": "reject"}

    def given(self) -> dict[str, Any]:
        given = super().given()
        given.pop("plan", None)
        given.update({name: given[name].split(",") for name in ("properties", "exclude") if name in given})
        return given


def complain(text: str) -> None:
    """On standard error; on a terminal it breaks between words, elsewhere it stays one line."""
    console = Console(stderr=True, highlight=False)
    console.print(text, markup=False, soft_wrap=not console.is_terminal)


def refuse(command: str, error: Exception, as_json: bool, code: int = EXIT_USAGE) -> typer.Exit:
    """Tells why a command does nothing. To be raised."""
    if as_json:
        print(json.dumps({"error": str(error), "code": getattr(error, "code", ""), "exit_code": code}))
    else:
        complain(f"intilery {command}: {error}")
    return typer.Exit(code)
