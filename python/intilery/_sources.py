"""What `send_many` reads: every table becomes one DuckDB query with the columns that `_native.RowSender` reads."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _native
from ._errors import ConfigurationError

if TYPE_CHECKING:
    import duckdb

ACTIONS = ("identify", "track", "page", "screen")
_COLUMNS = ("user_id", "anonymous_id", "event", "timestamp", "message_id")
_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".txt": "lines",
}
RUN_OPTIONS = ("on_invalid", "rejects", "checkpoint", "limit")
_NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?"
_ZONED = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*([Zz]|[+-]\d{2}(:?\d{2})?)"
_INTEGERS = {
    "tinyint",
    "smallint",
    "integer",
    "bigint",
    "hugeint",
    "utinyint",
    "usmallint",
    "uinteger",
    "ubigint",
    "uhugeint",
}
_PLAIN = _INTEGERS - {"hugeint", "uhugeint"} | {"boolean", "decimal", "double", "varchar"}
_NAIVE = {"date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"}
# Kinds of DuckDB's errors that speak of a query or a file as such.
_QUOTES_NO_VALUES = ("Binder Error", "Catalog Error", "IO Error", "Parser Error")
_SAMPLE = 20_000
_MAX_LINE = 256 << 20
MAX_PEEK = 100


def refuse(option: str, code: str, message: str) -> ConfigurationError:
    return ConfigurationError(message, code=code, option=option)


@dataclass(frozen=True)
class Plan:
    """What of a row says what; `docs/data.md` has the meaning of each. Hashable, so that runs can be compared."""

    action: str = "track"
    event: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    event_column: str | None = None
    timestamp: str | None = None
    timestamp_format: str | None = None
    timezone: str | None = None
    message_id: str | None = None
    properties: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    sql: str | None = None
    format: str | None = None
    delimiter: str | None = None
    source_id: str | None = None

    @classmethod
    def made(cls, given: Mapping[str, Any]) -> Plan:
        merged = {name: value for name, value in given.items() if value is not None}
        for name, value in merged.items():
            many = name in ("properties", "exclude")
            if many and isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
                merged[name] = value = tuple(value)
            expected = "a list of column names" if many else "text"
            if not (
                isinstance(value, str)
                if not many
                else isinstance(value, tuple) and all(isinstance(v, str) for v in value)
            ):
                raise refuse(name, "wrong_type", f"{name} must be {expected}, not {type(value).__name__}")
        plan = cls(**merged)
        if plan.action not in ACTIONS:
            raise refuse("action", "invalid_value", f"action must be one of {', '.join(ACTIONS)}, not {plan.action!r}")
        for name in ("event", "event_column"):
            if plan.action != "track" and getattr(plan, name) is not None:
                raise refuse(
                    name, "invalid_value", f'{name} is for action="track": {plan.action} has its own event name'
                )
        if plan.event is not None and plan.event_column is not None:
            raise refuse("event", "invalid_value", "give event, or event_column, and not both")
        if plan.properties is not None and plan.exclude:
            raise refuse("exclude", "invalid_value", "give properties, or exclude, and not both")
        if plan.timestamp_format is not None and plan.timezone is None:
            raise refuse("timezone", "required", 'timestamp_format needs timezone, such as "UTC"')
        return plan


def merge(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `send_many` that were given, over those that their `mapping` says."""
    options = {name: value for name, value in given.items() if value is not None}
    mapping = options.pop("mapping", None)
    if mapping is None:
        return options
    read = mapping if isinstance(mapping, Mapping) else _read_mapping(Path(mapping))
    names = [*(column.name for column in fields(Plan)), *RUN_OPTIONS]
    for name in read:
        if name not in names:
            nearest = _native.did_you_mean(str(name), names)
            raise refuse("mapping", "unknown_option", f"the mapping has no {name!r}{nearest}")
    return {**{name: value for name, value in read.items() if value is not None}, **options}


def _read_mapping(path: Path) -> Mapping[str, Any]:
    read: object
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            read = json.loads(text)
        else:
            yaml = _import("yaml", "reads a mapping in YAML with PyYAML")
            try:
                read = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(error) from error
    except (OSError, ValueError) as error:
        raise refuse("mapping", "unreadable", f"the mapping {str(path)!r} cannot be read: {error}") from error
    if not isinstance(read, Mapping):
        raise refuse("mapping", "wrong_type", f"{path} must hold one mapping, of names to columns")
    return read


def _import(name: str, why: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"send_many {why}; to install it: pip install 'intilery[data]'") from error


@dataclass(frozen=True)
class Names:
    """The plan's columns as the source has them; None: there is none."""

    user_id: str | None
    anonymous_id: str | None
    event: str | None
    timestamp: str | None
    message_id: str | None
    only: bool
    listed: frozenset[str]

    def native(self) -> dict[str, Any]:
        return {column.name: getattr(self, column.name) for column in fields(self)}

    def is_body(self, column: str) -> bool:
        return column not in self.taken and (column in self.listed) == self.only

    @property
    def taken(self) -> set[str | None]:
        return {self.user_id, self.anonymous_id, self.event, self.timestamp, self.message_id}


def resolve(plan: Plan, columns: Sequence[str]) -> Names:
    """Finds the plan's columns. One that has its argument's own name need not be named."""

    def known(option: str, name: str) -> str:
        if name in columns:
            return name
        near = _native.did_you_mean(name, list(columns))
        there = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        raise refuse(option, "unknown_column", f"{option}: the source has no column {name!r}{near}; it has {there}")

    found: dict[str, str | None] = {}
    for option in _COLUMNS:
        argument = "event_column" if option == "event" else option
        named = getattr(plan, argument)
        if named is not None:
            found[option] = known(argument, named)
        elif option == "event" and (plan.action != "track" or plan.event is not None):
            found[option] = None
        else:
            found[option] = option if option in columns else None
    if found["user_id"] is None and found["anonymous_id"] is None:
        known("user_id", "user_id")
    if plan.action == "track" and plan.event is None and found["event"] is None:
        raise refuse("event", "required", "give event, the events' name, or event_column, the column that has it")
    listed = plan.exclude if plan.properties is None else plan.properties
    option = "exclude" if plan.properties is None else "properties"
    return Names(**found, only=plan.properties is not None, listed=frozenset(known(option, name) for name in listed))


@dataclass
class Broken:
    """A row that cannot be read at all."""

    row: int
    line: int
    path: str
    message: str
    text: str


@dataclass
class Source:
    """An open source. Either `stream` has its rows, or `rows` does."""

    names: Names | None = None  # None: of rows that nobody has seen yet
    stream: Any = None
    rows: Iterator[Any] | None = None
    members: list[tuple[str, str]] | None = None  # the stream's columns of the body; None: it has lines of JSON
    sparse: bool = False  # nulls are left out
    broken: list[Broken] = field(default_factory=list)
    total: int | None = None
    path: Path | None = None
    head: dict[str, Any] | None = None
    connection: Any = None

    def close(self) -> None:
        self.stream = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class _Stream:
    """Lends an object's Arrow stream, so that DuckDB sees that and nothing else of it."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._producer.__arrow_c_stream__(requested_schema)


def is_path(source: object) -> bool:
    return isinstance(source, (str, os.PathLike))


def open_source(source: object, plan: Plan, limit: int | None) -> Source:
    """Finds out what the source is, and checks the plan against it, before anything is sent.

    Raises:
        ConfigurationError: The source is none, or it has no such column.
        ImportError: What is needed to read it is not installed.
    """
    if source is None and plan.sql is None:
        raise refuse("source", "required", "give a source, or sql")
    if isinstance(source, (bytes, Mapping)) or not (
        source is None or is_path(source) or _is_table(source) or isinstance(source, Iterable)
    ):
        raise refuse(
            "source",
            "wrong_type",
            f"a source is a path, a table, a DuckDB relation or an iterable of dicts, not {type(source).__name__}",
        )
    if source is None or is_path(source) or _is_table(source):
        opened = _Opening(plan, limit)
        try:
            return opened.open(source)
        except BaseException as error:
            opened.connection.close()
            if isinstance(error, opened.duckdb.Error):
                raise unreadable(Path(os.fspath(source)) if is_path(source) else None, error) from None  # type: ignore[call-overload]
            raise
    if plan.sql is not None:
        raise refuse("sql", "invalid_value", "sql needs a file or a table, not an iterable of rows")
    assert isinstance(source, Iterable)
    return Source(rows=iter(source), total=len(source) if isinstance(source, Sequence) else None)


def _is_table(source: object) -> bool:
    return hasattr(source, "__arrow_c_stream__") or type(source).__module__.split(".")[0] in (
        "pandas",
        "duckdb",
        "_duckdb",
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


class _Opening:
    def __init__(self, plan: Plan, limit: int | None) -> None:
        self.plan = plan
        self.limit = limit
        self.duckdb = _import("duckdb", "reads files, tables and queries with DuckDB")
        self.old = int(self.duckdb.__version__.split(".")[0]) < 2
        self.connection = self.duckdb.connect()
        # One thread reads faster than the service takes, in half the memory of two, and in the source's order.
        for setting in ("threads = 1", "TimeZone = 'UTC'", "python_enable_replacements = false"):
            self.connection.execute(f"SET {setting}")
        if plan.sql is None:
            # That one thread reads one source in its order anyway; to be told to costs DuckDB 200 MB.
            self.connection.execute("SET preserve_insertion_order = false")

    def open(self, source: object) -> Source:
        opened = Source(connection=self.connection)
        if is_path(source):
            opened.path = Path(os.fspath(source))  # type: ignore[call-overload]
            kind = self._kind(opened.path)
            opened.head = _head(opened.path)
            if self.old and opened.path.suffix.lower() == ".gz":
                _check_gzip(opened.path)
            if opened.path.suffix.lower() == ".zst":
                _check_zstd(opened.path)
            if self.plan.sql is None:
                if kind == "csv":
                    return self._open_csv(opened)
                if kind == "ndjson":
                    return self._open_lines(opened)
                if kind == "lines":
                    raise refuse(
                        "sql",
                        "required",
                        f"{opened.path} is read as lines: give sql, which finds columns in "
                        "the column `line` of `source`; or format, if it is CSV, NDJSON or Parquet",
                    )
            self.connection.execute(f"CREATE VIEW source AS {self._file_query(opened.path, kind)}")
            relation = self.connection.sql(self.plan.sql or "SELECT * FROM source")
        elif source is None:
            relation = self.connection.sql(self.plan.sql)
        else:
            relation = self._relation(source)
        if relation is None:
            raise refuse("sql", "invalid_value", "sql must be a query that returns rows")
        if self.plan.sql is None:  # before the stream is opened: a connection has one result at a time
            opened.total = self._count(opened, source)
        self._open_relation(opened, relation)
        return opened

    def _count(self, opened: Source, source: object) -> int | None:
        """The number of rows, where it costs nothing."""
        if opened.path is not None:  # Parquet
            return int(self.connection.execute("SELECT count(*) FROM source").fetchall()[0][0])
        # A relation's length is a query of its own.
        known = isinstance(source, Sized) and not isinstance(source, self.duckdb.DuckDBPyRelation)
        return len(source) if known else None  # type: ignore[arg-type]

    def _kind(self, path: Path) -> str:
        if not path.is_file():
            raise refuse("source", "not_found", f"there is no file {str(path)!r} (a query is given as sql)")
        suffixes = [suffix.lower() for suffix in path.suffixes]
        if suffixes and suffixes[-1] in (".gz", ".zst"):
            suffixes.pop()
        kind = self.plan.format or _FORMATS.get(suffixes[-1] if suffixes else "")
        if kind is None or kind not in _FORMATS.values():
            raise refuse(
                "format",
                "invalid_value" if kind else "required",
                f"give format for {str(path)!r}: csv, tsv, ndjson, parquet or lines",
            )
        return "csv" if kind == "tsv" else kind

    # Files.

    def _lines_query(self, path: Path, rest: str = "") -> str:
        # A delimiter and quotes that no text has; DuckDB checks that the lines are UTF-8. Not strict, since both kinds
        # of line ends may occur.
        return (
            f"SELECT line FROM read_csv({_text(str(path))}, columns={{'line': 'VARCHAR'}}, auto_detect=false, "
            f"strict_mode=false, header=false, delim='\x1f', quote='', escape='', comment='', nullstr=['\x1e'], "
            f"max_line_size={_MAX_LINE}{rest})"
        )

    def _file_query(self, path: Path, kind: str) -> str:
        if kind == "csv":
            return self._csv_query(path, self._header(path), "")
        if kind == "ndjson":
            return f"SELECT * FROM read_json({_text(str(path))}, format='newline_delimited')"
        if kind == "lines":
            return self._lines_query(path)
        return f"SELECT * FROM read_parquet({_text(str(path))})"

    def _header(self, path: Path) -> tuple[list[str], str]:
        first = self.connection.execute(self._lines_query(path, ", ignore_errors=true") + " LIMIT 1").fetchone()
        if first is None:
            raise refuse("source", "empty", f"{str(path)!r} is empty: it has not even a header")
        line = first[0]
        tabs = ".tsv" in [suffix.lower() for suffix in path.suffixes] or self.plan.format == "tsv"
        delimiter = self.plan.delimiter or ("\t" if tabs else max(",;\t|", key=line.count))
        names = [name or f"column{at}" for at, name in enumerate(next(csv.reader([line], delimiter=delimiter)), 1)]
        for name in names:
            if names.count(name) > 1:
                raise refuse("source", "duplicate_column", f"{str(path)!r} has more than one column {name!r}")
        return names, delimiter

    def _csv_query(self, path: Path, header: tuple[list[str], str], rest: str) -> str:
        names, delimiter = header
        columns = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in names)
        return (
            f"SELECT * FROM read_csv({_text(str(path))}, columns={{{columns}}}, auto_detect=false, header=true, "
            f"delim={_text(delimiter)}, quote='\"', escape='\"', max_line_size={_MAX_LINE}{rest})"
        )

    def _scan(self, opened: Source, query: str, columns: Sequence[str], header: int) -> None:
        """Reads the file once before anything is sent: counts its rows, and finds those that are broken."""
        assert opened.path is not None
        counts = ", ".join(f"count({_quoted(name)})" for name in columns)
        opened.total = self.connection.execute(f"SELECT count(*), {counts} FROM ({query})").fetchall()[0][0]
        found = self.connection.execute(
            "SELECT line, first(column_name), first(error_message), first(csv_line) FROM reject_errors "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
        for line, column, message, text in found:
            told = message.split(". This file")[0]
            opened.broken.append(Broken(line - header, line, column or "", told, (text or "").strip("\r\n")))
        opened.total += len(opened.broken)
        for table in ("reject_errors", "reject_scans"):
            self.connection.execute(f"DROP TABLE {table}")

    def _open_csv(self, opened: Source) -> Source:
        assert opened.path is not None
        header = self._header(opened.path)
        columns = header[0]
        names = opened.names = resolve(self.plan, columns)
        tolerant = self._csv_query(opened.path, header, ", ignore_errors=true, store_rejects=true")
        self._scan(opened, tolerant, columns, 1)
        query = self._csv_query(opened.path, header, ", ignore_errors=true")
        body = [name for name in columns if names.is_body(name)]
        if names.timestamp is not None and self.plan.timezone is None:
            self._check_zone(query, names.timestamp)
        kinds = self._kinds(query, body)
        members = [(name, _quoted(name), kinds[name]) for name in body]
        opened.sparse = True
        self._stream(opened, self.connection.sql(query), members, dict.fromkeys(columns, "varchar"))
        return opened

    def _kinds(self, query: str, columns: Sequence[str]) -> dict[str, str]:
        """Whether a CSV column has numbers, booleans or text: the values at the file's beginning decide."""
        if not columns:
            return {}
        checks = ", ".join(
            f"bool_and(regexp_full_match({_quoted(name)}, {_text(_NUMBER)})), "
            f"bool_and(lower({_quoted(name)}) IN ('true', 'false'))"
            for name in columns
        )
        (found,) = self.connection.execute(f"SELECT {checks} FROM ({query} LIMIT {_SAMPLE})").fetchall()
        return {
            name: "number" if found[2 * at] else "boolean" if found[2 * at + 1] else "value"
            for at, name in enumerate(columns)
        }

    def _check_zone(self, query: str, column: str) -> None:
        first = self.connection.execute(
            f"SELECT {_quoted(column)} FROM ({query}) WHERE {_quoted(column)} IS NOT NULL LIMIT 1"
        ).fetchone()
        if (
            first is None
            or self.connection.execute(f"SELECT regexp_full_match(?, {_text(_ZONED)})", first).fetchall()[0][0]
        ):
            return
        raise _naive(column)

    def _open_lines(self, opened: Source) -> Source:
        assert opened.path is not None
        self._scan(opened, self._lines_query(opened.path, ", ignore_errors=true, store_rejects=true"), ["line"], 0)
        query = self._lines_query(opened.path, ", ignore_errors=true")
        sample = self.connection.execute(f"{query} LIMIT {MAX_PEEK}").fetchall()
        keys: dict[str, None] = {}
        for (line,) in sample:
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                keys.update(dict.fromkeys(row if isinstance(row, dict) else ()))
        if not keys:
            raise refuse("source", "empty", f"{str(opened.path)!r} has no JSON object in its first {MAX_PEEK} lines")
        opened.names = resolve(self.plan, list(keys))
        for option in ("timezone", "timestamp_format"):
            if getattr(self.plan, option) is not None:
                raise refuse(
                    option, "invalid_value", f"{option} is not for NDJSON, whose timestamps have zones; use sql"
                )
        opened.stream = self._limited(self.connection.sql(query), opened)
        return opened

    # Tables.

    def _relation(self, source: Any) -> duckdb.DuckDBPyRelation:
        if isinstance(source, self.duckdb.DuckDBPyRelation):
            # It belongs to a connection of its own; that one must read it.
            return source.query("source", self.plan.sql) if self.plan.sql is not None else source  # type: ignore[no-any-return]
        if type(source).__module__.split(".")[0] != "pandas":
            source = _Stream(source)
        self.connection.register("source", source)
        return self.connection.sql(self.plan.sql or "SELECT * FROM source")  # type: ignore[no-any-return]

    def _open_relation(self, opened: Source, relation: duckdb.DuckDBPyRelation) -> None:
        types = dict(zip(relation.columns, relation.types))
        names = opened.names = resolve(self.plan, list(types))
        members = [(name, *_member(name, kind, _quoted(name))) for name, kind in types.items() if names.is_body(name)]
        self._stream(opened, relation, members, {name: kind.id for name, kind in types.items()})

    def _stream(
        self,
        opened: Source,
        relation: duckdb.DuckDBPyRelation,
        members: Sequence[tuple[str, str, str]],
        kinds: Mapping[str, str],
    ) -> None:
        """`members`: the columns of the body, each with its SQL expression and what the core makes of that."""
        names = opened.names
        assert names is not None
        text = "CAST(NULL AS VARCHAR)"
        columns = [
            text if name is None else _id(name, kinds[name])
            for name in (names.user_id, names.anonymous_id, names.event, names.message_id)
        ]
        moment = (
            "CAST(NULL AS BIGINT)" if names.timestamp is None else self._moment(names.timestamp, kinds[names.timestamp])
        )
        unread = text
        if names.timestamp is not None:
            unread = f"CASE WHEN {moment} IS NULL THEN coalesce(CAST({_quoted(names.timestamp)} AS VARCHAR), '') END"
            if kinds[names.timestamp] == "varchar":  # for the reject file, too
                unread = f"coalesce({_quoted(names.timestamp)}, '')"
        opened.members = [(name, form) for name, _, form in members]
        listed = [*columns, unread, f"CAST({moment} AS BIGINT)", *(value for _, value, _ in members)]
        projected = relation.project(", ".join(f"{value} AS c{at}" for at, value in enumerate(listed)))
        opened.stream = self._limited(projected, opened)

    def _limited(self, relation: duckdb.DuckDBPyRelation, opened: Source) -> Any:
        # As many rows as were counted: what is added to a file meanwhile was not checked, and is for the next run.
        numbers = [number for number in (self.limit, opened.total) if number is not None]
        if numbers:
            last = min(numbers)
            relation = relation.limit(last - sum(row.row <= last for row in opened.broken))
        # Before DuckDB 2 a relation's own stream came only after the whole result.
        if self.old:
            return relation.fetch_record_batch(10_000)
        return relation

    def _moment(self, column: str, kind: str) -> str:
        """Milliseconds since the Unix epoch, or null."""
        cell, zone, form = _quoted(column), self.plan.timezone, self.plan.timestamp_format
        if kind == "timestamp with time zone":
            return f"epoch_ms({cell})"
        if kind in _NAIVE:
            if zone is None:
                raise _naive(column)
            return f"epoch_ms(timezone({_text(zone)}, CAST({cell} AS TIMESTAMP)))"
        if kind != "varchar":
            raise refuse(
                "timestamp",
                "wrong_type",
                f"timestamp: the column {column!r} is of type {kind.upper()}, and no moment; with sql you can make it "
                "one, such as to_timestamp(seconds)",
            )
        if form is not None:
            return f"epoch_ms(timezone({_text(zone or 'UTC')}, try_strptime({cell}, {_text(form)})))"
        zoned = f"WHEN regexp_full_match({cell}, {_text(_ZONED)}) THEN epoch_ms(TRY_CAST({cell} AS TIMESTAMPTZ))"
        naive = "" if zone is None else f"ELSE epoch_ms(timezone({_text(zone)}, TRY_CAST({cell} AS TIMESTAMP)))"
        return f"CASE {zoned} {naive} END"


def _naive(column: str) -> ConfigurationError:
    return refuse(
        "timezone",
        "naive_timestamp",
        f"timestamp: the column {column!r} has moments without a zone; say which one they are in with timezone, such "
        'as "UTC" or "Europe/London" (and how they are written with timestamp_format, if it is not as in ISO 8601)',
    )


def unreadable(path: Path | None, error: Exception) -> ConfigurationError:
    """Says what DuckDB says, but for the source's values, which it quotes. Raise it `from None` for the same reason."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not first.startswith(_QUOTES_NO_VALUES):
        first = re.sub("['\"].*", "…", first.replace(f"'{path}'", "it"))
        first = re.sub(r"(?<!\w)(?<!Line: )[-+]?\d[\d.eE+-]*", "…", first)
    return refuse("source", "unreadable", f"{path if path is not None else 'the source'} cannot be read: {first}")


def _id(name: str, kind: str) -> str:
    cell = _quoted(name)
    if kind in ("float", "double"):  # what pandas makes of integers where some are missing
        whole = f"CASE WHEN {cell} = trunc({cell}) THEN TRY_CAST({cell} AS HUGEINT) END"
        return f"coalesce(CAST({whole} AS VARCHAR), CAST({cell} AS VARCHAR))"
    return f"CAST({cell} AS VARCHAR)"


def _member(name: str, kind: Any, cell: str) -> tuple[str, str]:
    """A SQL expression for a column of the body, and what the core makes of it: see `RowSender.open`."""
    if kind.id == "float":  # the double of the digits that DuckDB finds: a float's own are not always the shortest
        return f"CAST(CAST({cell} AS VARCHAR) AS DOUBLE)", "value"
    return (cell, "value") if _is_plain(kind) else (_json(name, kind, cell), "json")


def _is_plain(kind: Any) -> bool:
    """Whether the core makes JSON of a type's values by itself."""
    if kind.id in ("struct", "list", "array"):
        return all(_is_plain(child) for _, child in kind.children if isinstance(child, type(kind)))
    return kind.id in _PLAIN and str(kind) != "JSON"


def _json(name: str, kind: Any, cell: str, depth: int = 0) -> str:
    """A SQL expression for the JSON text of a value: exact numbers, and dates as docs/values.md has them.

    NaN stays NaN, which the core refuses.
    """
    if kind.id == "blob" or kind.id == "bit":
        raise refuse(
            "exclude",
            "unsupported_type",
            f"the column {name!r} is of type {kind.id.upper()}, which has no JSON form; exclude it",
        )
    if str(kind) == "JSON" or kind.id in _INTEGERS or kind.id in ("decimal", "boolean", "float", "double"):
        return f"CAST({cell} AS VARCHAR)"
    if kind.id == "timestamp with time zone":
        return f"strftime(timezone('UTC', {cell}), '\"%Y-%m-%dT%H:%M:%S.%gZ\"')"
    if kind.id in _NAIVE and kind.id != "date":
        return f"""'"' || replace(CAST({cell} AS VARCHAR), ' ', 'T') || '"'"""
    if kind.id == "struct":
        members = ", ".join(
            f"{_text((',' if at else '') + json.dumps(key, ensure_ascii=False) + ':')}, "
            f"coalesce({_json(name, child, f'struct_extract({cell}, {_text(key)})', depth)}, 'null')"
            for at, (key, child) in enumerate(kind.children)
        )
        return f"CASE WHEN {cell} IS NOT NULL THEN concat('{{', {members}, '}}') END"
    if kind.id in ("list", "array"):
        element = f"x{depth}"
        inner = _json(name, kind.children[0][1], element, depth + 1)
        items = f"array_to_string(list_transform({cell}, lambda {element}: coalesce({inner}, 'null')), ',')"
        return f"CASE WHEN {cell} IS NOT NULL THEN concat('[', {items}, ']') END"
    if kind.id in ("map", "union"):
        return f"CAST(to_json({cell}) AS VARCHAR)"
    return f"CAST(to_json(CAST({cell} AS VARCHAR)) AS VARCHAR)"


def _check_gzip(path: Path) -> None:
    """DuckDB before 2 takes a truncated file for a short one."""
    try:
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass
    except (EOFError, OSError) as error:
        raise unreadable(path, error) from None


def _check_zstd(path: Path) -> None:
    """DuckDB takes a truncated file for a short one. Walks from block to block (RFC 8878, 3.1), reading none."""
    size = path.stat().st_size
    with path.open("rb") as file:

        def number(count: int) -> int:
            read = file.read(count)
            if len(read) < count:
                raise unreadable(path, EOFError("the zstd stream ends too early"))
            return int.from_bytes(read, "little")

        while file.tell() < size:
            magic = number(4)
            if magic & ~0xF == 0x184D2A50:  # a frame to be skipped
                file.seek(number(4), os.SEEK_CUR)
                continue
            if magic != 0xFD2FB528:
                raise unreadable(path, ValueError("it is not zstd"))
            flags = number(1)
            single = flags >> 5 & 1
            file.seek((0 if single else 1) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6], os.SEEK_CUR)
            last = 0
            while not last:
                block = number(3)
                last = block & 1
                file.seek(1 if block >> 1 & 3 == 1 else block >> 3, os.SEEK_CUR)
            file.seek(4 * (flags >> 2 & 1), os.SEEK_CUR)  # the checksum
        if file.tell() > size:
            raise unreadable(path, EOFError("the zstd stream ends too early"))


def _head(path: Path) -> dict[str, Any]:
    """What tells that a file is still the same one, though it may have grown."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    return {"size": path.stat().st_size, "start": len(start), "sha256": hashlib.sha256(start).hexdigest()}


def is_same(path: Path, head: Mapping[str, Any]) -> bool:
    with path.open("rb") as file:
        start = file.read(int(head["start"]))
    return bool(path.stat().st_size >= head["size"] and hashlib.sha256(start).hexdigest() == head["sha256"])
