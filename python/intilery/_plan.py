"""The arguments of `send_many`, for type checkers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    from typing_extensions import TypeAlias


class ArrowTable(Protocol):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


Rows: TypeAlias = (
    "str | os.PathLike[str] | ArrowTable | pd.DataFrame | duckdb.DuckDBPyRelation | Iterable[Mapping[str, Any]]"
)


class SendManyOptions(TypedDict, total=False):
    mapping: Mapping[str, Any] | str | os.PathLike[str] | None
    """More of these arguments, in a dict or a YAML or JSON file; what is given directly goes over it."""
    on_invalid: Literal["reject", "stop"]
    """A row that can be no event is written to the reject file (default), or ends the run."""
    rejects: str | os.PathLike[str] | None
    """The reject file. Default: beside a file, else `intilery-rejects.ndjson`."""
    checkpoint: str | os.PathLike[str] | bool | None
    """A file that lets a run that was killed go on. True: beside the source. Default: none."""
    limit: int | None
    """Sends the source's first rows only."""

    action: Literal["identify", "track", "page", "screen"] | None
    """Default: track."""
    event: str | None
    """The name of every event (track)."""
    event_column: str | None
    """Or the column that has each one's. Default: `event`, if there is one."""
    user_id: str | None
    """A column. Default: `user_id`. One with whole numbers will do."""
    anonymous_id: str | None
    """A column. Default: `anonymous_id`, if there is one."""
    timestamp: str | None
    """A column. Default: `timestamp`, if there is one; else an event's time is that of its sending."""
    timestamp_format: str | None
    """How it is written, if it is not ISO-8601, such as `%d/%m/%Y %H:%M`; needs `timezone`."""
    timezone: str | None
    """Of timestamps that have none, such as `UTC` or `Europe/London`."""
    message_id: str | None
    """A column. Default: `message_id`, if there is one; else it follows from the row."""
    properties: Sequence[str] | None
    """The columns that become properties (of identify: traits). Default: all the rest."""
    exclude: Sequence[str] | None
    """The columns that do not."""
    sql: str | None
    """A query that makes the rows; in it, the source is the table `source`. May stand without a source."""
    format: Literal["csv", "tsv", "ndjson", "parquet", "lines"] | None
    """Of a file whose name does not tell."""
    delimiter: str | None
    """Of CSV. Default: the one of `,` `;` `|` and tab that the header has most of."""
    source_id: str | None
    """Tells sources apart whose rows are the same, in their message ids. Default: a file's name."""
