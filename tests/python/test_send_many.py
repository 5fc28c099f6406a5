from __future__ import annotations

import asyncio
import datetime
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import traceback
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from programs import environment

from intilery import AuthError, ClosedError, ConfigurationError, DeliveryError, Sent, ValidationError, _sources
from intilery.testing import Sandbox

UTC = datetime.timezone.utc
DAY = datetime.datetime(2024, 1, 1, tzinfo=UTC)
NAIVE = datetime.datetime(2024, 7, 5, 12)
ROWS: list[dict[str, Any]] = [
    {"user_id": "u1", "timestamp": DAY, "revenue": 30.5, "tags": ["a", "b"]},
    {"user_id": "u2", "timestamp": DAY + datetime.timedelta(milliseconds=7), "revenue": None, "tags": None},
]
EXPECTED = [
    ("u1", "2024-01-01T00:00:00.000Z", {"revenue": 30.5, "tags": ["a", "b"]}),
    ("u2", "2024-01-01T00:00:00.007Z", {"revenue": None, "tags": None}),
]


pytestmark = [pytest.mark.usefixtures("in_its_own_folder"), pytest.mark.sandbox(rate_limit=0)]


def send(sandbox: Sandbox, source: object = None, **options: Any) -> Sent:
    with sandbox.client() as client:
        return client.send_many(source, **{"event": "Order", **options})  # type: ignore[arg-type]


def arrived(sandbox: Sandbox) -> list[tuple[str, str, Any]]:
    raw = [event["rawData"] for event in sandbox.events()]
    return sorted((event["userId"], event["timestamp"], event.get("properties")) for event in raw)


def ids(sandbox: Sandbox) -> list[str]:
    return sorted(event["rawData"]["messageId"] for event in sandbox.events())


def rejected(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def parquet() -> str:
    pq.write_table(pa.Table.from_pylist(ROWS), "rows.parquet")
    return "rows.parquet"


def ndjson(name: str = "rows.ndjson") -> str:
    lines = [{**row, "timestamp": row["timestamp"].isoformat()} for row in ROWS]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    Path(name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return name


def zstd() -> str:
    with pa.CompressedOutputStream("rows.ndjson.zst", "zstd") as file:
        file.write(Path(ndjson()).read_bytes())
    return "rows.ndjson.zst"


class OnlyAStream:
    """Anything with Arrow's stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return pa.Table.from_pylist(ROWS).__arrow_c_stream__(requested_schema)


LINE = '{{"user_id":"u","n":"{}"}}\n'

SOURCES = {
    "dicts": lambda: ROWS,
    "a generator": lambda: (row for row in ROWS),
    "pandas": lambda: pd.DataFrame(ROWS),
    "polars": lambda: pl.DataFrame(ROWS),
    "pyarrow": lambda: pa.Table.from_pylist(ROWS),
    "a record batch reader": lambda: pa.Table.from_pylist(ROWS).to_reader(),
    "an Arrow stream": OnlyAStream,
    "a DuckDB relation": lambda: duckdb.sql(f"SELECT * FROM '{parquet()}'"),
    "Parquet": parquet,
    "NDJSON": ndjson,
    "NDJSON, gzip": lambda: ndjson("rows.ndjson.gz"),
    "NDJSON, zstd": zstd,
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES.keys())
def test_every_source_becomes_the_same_events(sandbox: Sandbox, make: Any) -> None:
    sent = send(sandbox, make())
    assert arrived(sandbox) == EXPECTED
    assert (sent.rows, sent.sent, sent.delivered, sent.rejected, sent.failed, sent.remaining) == (2, 2, 2, 0, 0, 0)
    assert sent.rejects is None


def test_a_query_makes_the_rows_of_a_file_or_of_nothing(sandbox: Sandbox) -> None:
    send(sandbox, parquet(), sql="SELECT upper(user_id) AS user_id, revenue * 2 AS twice FROM source WHERE revenue > 0")
    assert [(user, properties) for user, _, properties in arrived(sandbox)] == [("U1", {"twice": 61.0})]
    sandbox.clear()
    send(sandbox, sql="SELECT 'u' || range AS user_id FROM range(3)")
    assert [user for user, _, _ in arrived(sandbox)] == ["u0", "u1", "u2"]
    sandbox.clear()
    send(sandbox, duckdb.sql("SELECT 7 AS n"), sql="SELECT n AS user_id FROM source")
    assert [user for user, _, _ in arrived(sandbox)] == ["7"]


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.csv.gz", ",")])
def test_csv_is_read_with_bom_crlf_quotes_and_exact_numbers(sandbox: Sandbox, name: str, delimiter: str) -> None:
    rows = [
        ["user_id", "zip", "price", "member", "note"],
        ["007", "01234", "77.00", "TRUE", '"two\r\nlines, ""quoted"""'],
        ["8", "99999", "123456789012345678901234567890.10", "false", ""],
    ]
    text = b"\xef\xbb\xbf" + "".join(delimiter.join(row) + "\r\n" for row in rows).encode()
    Path(name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert send(sandbox, name).total == 2
    bodies = sorted(request.body.decode() for request in sandbox.requests())
    told = "".join(bodies)
    assert '"properties":{"zip":"01234","price":77.00,"member":true,"note":"two\\r\\nlines, \\"quoted\\""}' in told
    assert '"properties":{"zip":"99999","price":123456789012345678901234567890.10,"member":false}' in told
    assert [user for user, _, _ in arrived(sandbox)] == ["007", "8"]


def test_line_ends_of_both_kinds_do_not_matter(sandbox: Sandbox) -> None:
    Path("a.csv").write_bytes(b'user_id,note\r\nu1,"two\nlines"\r\nu2,x\r\n')
    Path("a.ndjson").write_bytes(b'{"user_id":"u3"}\r\n{"user_id":"u4"}\n\r\n{"user_id":"u5"}\r\n')
    assert [send(sandbox, name).delivered for name in ("a.csv", "a.ndjson")] == [2, 3]
    assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u2", "u3", "u4", "u5"]


def test_broken_rows_are_written_with_their_numbers_and_all_else_is_sent(sandbox: Sandbox) -> None:
    Path("a.csv").write_bytes(
        b"user_id,n,note,timestamp\r\n"
        b"u1,1,x,2024-01-01T00:00:00Z\r\n"
        b"u2,2\r\n"
        b"u3,3,a,b,c,d\r\n"
        b"u4,4,\xff\xfe,2024-01-01T00:00:00Z\r\n"
        b",5,no user,2024-01-01T00:00:00Z\r\n"
        b"u6,6,bad date,2024-13-01T00:00:00Z\r\n"
        b"u7,7,y,2024-01-01 00:00:00+00\r\n"
    )
    sent = send(sandbox, "a.csv")
    assert (sent.rows, sent.delivered, sent.rejected) == (7, 2, 5)
    assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u7"]
    assert sent.rejects == Path("a.csv.rejects.ndjson")
    assert Path(sent.rejects).stat().st_mode & 0o777 == 0o600
    told = {line["row"]: line for line in rejected(sent.rejects)}
    assert {row: line["code"] for row, line in told.items()} == {
        2: "broken_row",
        3: "broken_row",
        4: "broken_row",
        5: "required",
        6: "invalid_timestamp",
    }
    assert (told[2]["line"], told[2]["values"]) == (3, "u2,2")
    assert told[5]["values"] == {"timestamp": "2024-01-01T00:00:00Z", "n": 5, "note": "no user"}
    assert told[6]["path"] == "timestamp"
    assert told[6]["values"]["timestamp"] == "2024-13-01T00:00:00Z"


def test_a_value_that_is_not_of_its_columns_kind_is_rejected(sandbox: Sandbox) -> None:
    lines = [f"u{n},{n}" for n in range(20_000)] + ["late,n/a", "lead,007", "last,5"]
    Path("a.csv").write_text("user_id,n\n" + "\n".join(lines) + "\n")
    sent = send(sandbox, "a.csv")
    assert (sent.delivered, sent.rejected) == (20_001, 2)
    assert sent.rejects is not None
    assert [(line["row"], line["code"], line["path"], line["values"]) for line in rejected(sent.rejects)] == [
        (20_001, "wrong_type", "properties.n", {"user_id": "late", "n": "n/a"}),
        (20_002, "wrong_type", "properties.n", {"user_id": "lead", "n": "007"}),
    ]


def test_lines_that_are_no_json_are_rejected_as_they_stand(sandbox: Sandbox) -> None:
    Path("a.ndjson").write_bytes(
        b'\xef\xbb\xbf{"user_id": 1, "big": 12345678901234567890.10}\r\n'
        b'{"user_id": "u2"\r\n'
        b'{"user_id": "\xff"}\r\n'
        b"[1]\r\n"
        b'{"n": 5}\r\n'
        b'{"user_id": "u6"}'
    )
    sent = send(sandbox, "a.ndjson")
    assert (sent.rows, sent.delivered, sent.rejected) == (6, 2, 4)
    assert '"big":12345678901234567890.10' in "".join(request.body.decode() for request in sandbox.requests())
    assert sent.rejects is not None
    told = {line["row"]: (line["code"], line["values"]) for line in rejected(sent.rejects)}
    assert told[2] == ("invalid_json", '{"user_id": "u2"')
    assert told[3][0] == "broken_row"
    assert told[4] == ("wrong_type", [1])
    assert told[5] == ("required", {"n": 5})


def test_a_line_of_100_mb_is_rejected_and_its_neighbours_are_sent(sandbox: Sandbox) -> None:
    long = "x" * 100_000_000
    Path("a.ndjson").write_text(f'{{"user_id":"u1"}}\n{{"user_id":"u2","long":"{long}"}}\n{{"user_id":"u3"}}\n')
    Path("a.csv").write_text(f"user_id,long\nu4,\nu5,{long}\nu6,\n")
    for name in ("a.ndjson", "a.csv"):
        sent = send(sandbox, name)
        assert (sent.delivered, sent.rejected) == (2, 1)
        assert sent.rejects is not None
        (line,) = rejected(sent.rejects)
        assert (line["row"], line["code"]) == (2, "too_large")
        assert len(line["values"]["long"]) == len(long)
    assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u3", "u4", "u6"]


def test_a_long_row_has_the_id_that_follows_from_it(sandbox: Sandbox) -> None:
    text = "x" * 900_000
    sent = send(sandbox, [{"user_id": "u", "text": text}])
    assert sent.delivered == 1
    parts = ["", "1", "track", "u", "", "Order", "", '{"text":"' + text + '"}']
    digest = bytearray(hashlib.blake2b("".join(part + "\0" for part in parts).encode(), digest_size=16).digest())
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    assert ids(sandbox) == [str(uuid.UUID(bytes=bytes(digest)))]


@pytest.mark.parametrize(("name", "header", "line"), [("a.csv", "user_id,n\n", "u,{}\n"), ("a.ndjson", "", LINE)])
def test_what_is_added_to_a_file_during_a_run_is_for_the_next_run(
    sandbox: Sandbox, name: str, header: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(name)
    path.write_text(header + line.format(1) * 3)
    scan = _sources._Opening._scan

    def scan_and_grow(*arguments: Any) -> None:
        scan(*arguments)
        with path.open("a") as file:
            file.write("broken,1,2\n" + line.format("late"))

    monkeypatch.setattr(_sources._Opening, "_scan", scan_and_grow)
    first = send(sandbox, path, checkpoint=True)
    assert (first.rows, first.delivered, first.rejected, first.total) == (3, 3, 0, 3)
    monkeypatch.setattr(_sources._Opening, "_scan", scan)
    second = send(sandbox, path, checkpoint=True)
    assert (second.rows, second.delivered, second.rejected, second.resumed) == (5, 4, 1, 3)
    assert len(set(ids(sandbox))) == sandbox.event_count() == 4


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.ndjson"])
def test_a_file_of_many_pieces_is_read_in_its_order(name: str) -> None:
    order = pa.table({"user_id": pa.array(range(60_000)), "text": ["x" * 1_000] * 60_000})
    if name == "a.parquet":
        pq.write_table(order, name, row_group_size=1_000)
    else:
        duckdb.register("ordered", order)
        duckdb.sql(f"COPY ordered TO '{name}'" + (" (FORMAT json)" if name == "a.ndjson" else ""))
    opened = _sources.open_source(name, _sources.Plan.made({"event": "E"}), None)
    first = pa.RecordBatchReader.from_stream(opened.stream).read_all().column(0).to_pylist()
    opened.stream = None
    opened.close()
    users = [json.loads(line)["user_id"] for line in first] if name == "a.ndjson" else map(int, first)
    assert list(users) == list(range(60_000))


def test_a_limit_counts_the_rows_that_cannot_be_read(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id,n\nu1,1\nbroken\nu3,3\nu4,4\n")
    sent = send(sandbox, "a.csv", limit=3)
    assert (sent.rows, sent.delivered, sent.rejected) == (3, 2, 1)
    assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u3"]


SECRET = "fred@example.com"


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT user_id, (user_id || ' {SECRET}')::INT AS n FROM source",
        "SELECT user_id, strptime(user_id, '%d') AS n FROM source",
        "SELECT user_id, CAST(user_id AS DATE) AS n FROM source",
        "SELECT user_id, CAST(n AS JSON) AS n FROM source",
        "SELECT user_id, (n.split(' ')[1]::INT * 99999)::TINYINT AS n FROM source",
    ],
)
def test_errors_hold_nothing_of_what_the_source_holds(sandbox: Sandbox, sql: str) -> None:
    Path("a.ndjson").write_text(json.dumps({"user_id": SECRET, "n": "'\"{x 31415"}) + "\n")
    with pytest.raises(ConfigurationError, match=r"a.ndjson cannot be read: \w+") as caught:
        send(sandbox, "a.ndjson", sql=sql)
    told = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    assert SECRET not in str(caught.value)
    assert not any(part in told.split("ConfigurationError")[-1] for part in (SECRET, "fred", "31415"))
    assert "duckdb" not in told.replace("_sources", "").split("Traceback")[0]


def test_a_mistake_that_stops_the_run_is_told_without_the_rows_values(sandbox: Sandbox) -> None:
    broken = [f"{SECRET}", f"a,{SECRET},c", f'"{SECRET},x', f'"{SECRET}"x,3']
    for line in broken:
        Path("a.csv").write_text(f"user_id,n\nu1,1\n{line}\n")
        with pytest.raises(ValidationError, match="row 2: ") as caught:
            send(sandbox, "a.csv", on_invalid="stop")
        assert "example" not in str(caught.value)


def test_stopping_at_a_mistake_delivers_what_came_before_and_says_which_row(sandbox: Sandbox) -> None:
    rows = [{"user_id": "u1"}, {"user_id": "u2"}, {"user_id": None}, {"user_id": "u4"}]
    for source in (rows, pa.Table.from_pylist(rows)):
        with pytest.raises(ValidationError, match="row 3: userId is required") as caught:
            send(sandbox, source, on_invalid="stop")
        assert (caught.value.row, caught.value.code, caught.value.path) == (3, "required", "userId")
        assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u2"]
        sandbox.clear()
    Path("a.csv").write_text("user_id,n\nu1,1\nu2\n")
    with pytest.raises(ValidationError, match="row 2: Expected Number of Columns: 2 Found: 1"):
        send(sandbox, "a.csv", on_invalid="stop")
    assert sandbox.event_count() == 0
    assert not list(Path().glob("*rejects*"))


def test_a_stopped_run_goes_on_at_the_mistake_once_it_is_mended(sandbox: Sandbox) -> None:
    rows: list[dict[str, Any]] = [{"user_id": "u1"}, {"user_id": None}, {"user_id": "u3"}]
    with pytest.raises(ValidationError):
        send(sandbox, rows, on_invalid="stop", checkpoint="c")
    rows[1]["user_id"] = "u2"
    sent = send(sandbox, rows, on_invalid="stop", checkpoint="c")
    assert (sent.rows, sent.delivered, sent.resumed) == (3, 3, 1)
    assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u2", "u3"]


def test_rows_that_the_service_refuses_are_in_the_reject_file_with_their_events(sandbox: Sandbox) -> None:
    sandbox.set_faults({"user_id": "u2", "status": 400})
    sent = send(sandbox, [{"user_id": f"u{n}", "n": n} for n in range(1, 4)])
    assert (sent.rows, sent.delivered, sent.failed, sent.remaining) == (3, 2, 1, 0)
    (line,) = rejected("intilery-rejects.ndjson")
    assert (line["row"], line["code"], line["arrived"]) == (2, "rejected", "no")
    assert line["values"]["properties"] == {"n": 2}
    assert line["message_id"] == line["values"]["messageId"]


def test_the_message_id_is_what_the_documentation_says_and_the_same_from_every_source(sandbox: Sandbox) -> None:
    row = {"user_id": "u1", "timestamp": DAY, "n": 5}
    parts = ["", "1", "track", "u1", "", "Order", "2024-01-01T00:00:00.000Z", '{"n":5}']
    digest = bytearray(hashlib.blake2b("".join(part + "\0" for part in parts).encode(), digest_size=16).digest())
    digest[6] = 0x80 | digest[6] & 0x0F
    digest[8] = 0x80 | digest[8] & 0x3F
    for source in ([row], pa.Table.from_pylist([row]), pd.DataFrame([row])):
        sandbox.clear()
        send(sandbox, source)
        assert ids(sandbox) == [str(uuid.UUID(bytes=bytes(digest)))]


def test_equal_rows_are_different_events_and_files_of_another_name_too(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id\nu\nu\n")
    Path("b.csv").write_text("user_id\nu\nu\n")
    send(sandbox, "a.csv")
    send(sandbox, "b.csv")
    assert len(set(ids(sandbox))) == 4
    send(sandbox, "b.csv", source_id="a.csv")
    assert (len(ids(sandbox)), len(set(ids(sandbox)))) == (6, 4)


def test_a_message_id_column_is_used_where_it_has_a_value(sandbox: Sandbox) -> None:
    send(sandbox, [{"user_id": "u", "message_id": "mine"}, {"user_id": "u", "message_id": None}])
    (made,) = set(ids(sandbox)) - {"mine"}
    assert uuid.UUID(made).version == 8


def test_columns_are_mapped_chosen_and_left_out(sandbox: Sandbox) -> None:
    table = pa.Table.from_pylist([{"customer": 5, "what": "Bought", "a": 1, "b": 2, "c": 3}])
    mapping = {"user_id": "customer", "event_column": "what"}
    with sandbox.client() as client:
        client.send_many(table, mapping=mapping, exclude=["b"])
        client.send_many(table, mapping=mapping, properties=["b"])
        client.send_many(table, user_id="customer", action="identify", properties=["a"])
        client.send_many(table, anonymous_id="customer", action="page", properties=[])
    events = [event["rawData"] for event in sandbox.events()]
    assert [(event["event"], event.get("properties", event.get("traits"))) for event in events] == [
        ("Bought", {"a": 1, "c": 3}),
        ("Bought", {"b": 2}),
        ("identify", {"a": 1}),
        ("page", {}),
    ]
    assert events[3]["anonymousId"] == "5"


def test_a_mapping_comes_from_a_file(sandbox: Sandbox) -> None:
    Path("map.yaml").write_text("user_id: customer\nevent: Bought\nexclude: [secret]\n")
    with sandbox.client() as client:
        client.send_many([{"customer": "u", "n": 1, "secret": 2}], mapping="map.yaml")
    assert sandbox.events()[0]["rawData"]["properties"] == {"n": 1}


@pytest.mark.parametrize(
    ("source", "options", "option", "said"),
    [
        ([{"userid": 1}], {}, "user_id", "no column 'user_id'; did you mean \"userid\"?; it has userid"),
        (ROWS, {"timestamp": "timestmp"}, "timestamp", 'did you mean "timestamp"'),
        (ROWS, {"exclude": ["tag"]}, "exclude", 'did you mean "tags"'),
        (ROWS, {"exclude": "tags"}, "exclude", "must be a list of column names, not str"),
        (ROWS, {"event": None}, "event", "give event"),
        (ROWS, {"action": "trak"}, "action", "must be one of"),
        (ROWS, {"action": "page"}, "event", "page has its own event name"),
        (ROWS, {"mapping": {"user": "u"}}, "mapping", "the mapping has no 'user'"),
        (ROWS, {"on_invalid": "ignore"}, "on_invalid", '"reject" or "stop"'),
        (ROWS, {"checkpoint": True}, "checkpoint", "the source has no path"),
        (ROWS, {"sql": "SELECT 1"}, "sql", "needs a file or a table"),
        ({"user_id": "u"}, {}, "source", "not dict"),
        (5, {}, "source", "not int"),
        (None, {}, "source", "give a source, or sql"),
        ("none.csv", {}, "source", "there is no file 'none.csv'"),
        (pa.table({"user_id": [1], "t": [b"x"]}), {}, "exclude", "of type BLOB"),
        (pa.table({"user_id": [1], "t": [5]}), {"timestamp": "t"}, "timestamp", "of type BIGINT, and no moment"),
        (
            pa.table({"user_id": [1], "t": [datetime.datetime(2024, 1, 1)]}),
            {"timestamp": "t"},
            "timezone",
            "without a zone",
        ),
        (None, {"sql": "SELECT nothing"}, "source", "cannot be read"),
    ],
)
def test_what_does_not_fit_the_source_is_said_before_anything_is_sent(
    sandbox: Sandbox, source: object, options: dict[str, Any], option: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        send(sandbox, source, **options)
    assert said in str(caught.value)
    assert caught.value.option == option
    assert caught.value.code
    assert sandbox.requests() == []


def test_files_that_cannot_be_read_say_why_before_anything_is_sent(sandbox: Sandbox) -> None:
    whole = gzip.compress(b"user_id,n\n" + b"".join(b"u%d,%d\n" % (n, n * n) for n in range(50_000)))
    Path("cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pa.CompressedOutputStream("whole.csv.zst", "zstd") as file:
        file.write(gzip.decompress(whole))
    packed = Path("whole.csv.zst").read_bytes()
    assert send(sandbox, "whole.csv.zst", limit=1).total == 1
    sandbox.clear()
    Path("cut.csv.zst").write_bytes(packed[: len(packed) // 2])
    Path("nearly.csv.zst").write_bytes(packed[:-1])
    Path("empty.csv").write_bytes(b"")
    Path("empty.ndjson").write_bytes(b"")
    Path("no.parquet").write_bytes(b"PAR1 or not")
    Path("naive.csv").write_text("user_id,timestamp\nu,2024-01-01 00:00:00\n")
    Path("twice.csv").write_text("user_id,a,a\nu,1,2\n")
    Path("rows.dat").write_text("x")
    for name, said in {
        "cut.csv.gz": "cut.csv.gz cannot be read: .*(GZIP|end-of-stream)",
        "cut.csv.zst": "cut.csv.zst cannot be read: the zstd stream ends too early",
        "nearly.csv.zst": "the zstd stream ends too early",
        "empty.csv": "is empty",
        "empty.ndjson": "has no JSON object",
        "no.parquet": "cannot be read",
        "naive.csv": "without a zone",
        "twice.csv": "more than one column 'a'",
        "rows.dat": "give format",
    }.items():
        with pytest.raises(ConfigurationError, match=said):
            send(sandbox, name)
    assert sandbox.requests() == []


def test_the_number_of_rows_is_known_where_the_source_knows_it(sandbox: Sandbox) -> None:
    known = ["dicts", "pandas", "polars", "pyarrow", "Parquet", "NDJSON"]
    assert [send(sandbox, SOURCES[kind]()).total for kind in known] == [2] * len(known)
    assert send(sandbox, iter(ROWS)).total is None


def test_what_the_programs_own_iterable_raises_comes_through(sandbox: Sandbox) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"user_id": "u1"}
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        send(sandbox, rows(), checkpoint="c")
    assert send(sandbox, [{"user_id": "u1"}, 5], checkpoint="c").rejected == 1
    assert send(sandbox, [{"user_id": "u1"}, 5], checkpoint="c").resumed == 2
    assert [line["row"] for line in rejected("intilery-rejects.ndjson")] == [2]
    assert len(set(ids(sandbox))) == 1


def test_a_header_without_rows_is_no_mistake(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id,n\n")
    assert send(sandbox, "a.csv").rows == 0


def test_times_get_the_zone_and_the_format_that_are_given(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id,timestamp\nu1,05/07/2024 12:00\nu2,2024\n")
    options = {"timezone": "Europe/London", "timestamp_format": "%d/%m/%Y %H:%M"}
    assert send(sandbox, "a.csv", **options).rejected == 1
    send(sandbox, pa.table({"user_id": ["u3"], "timestamp": [NAIVE]}), timezone="Europe/London")
    send(sandbox, [{"user_id": "u4", "timestamp": NAIVE}], timezone="Europe/London")
    send(sandbox, [{"user_id": "u5", "timestamp": "05/07/2024 12:00"}], **options)
    assert {when for _, when, _ in arrived(sandbox)} == {"2024-07-05T11:00:00.000Z"}
    assert sandbox.event_count() == 4


def test_nested_and_exact_values_of_tables_become_what_the_values_page_says(sandbox: Sandbox) -> None:
    query = """SELECT 'u' AS user_id,
        {'d': 1.10::DECIMAL(9,2), 'at': TIMESTAMP '2024-01-01 10:00:00.5', 'no': NULL} AS s,
        [TIMESTAMPTZ '2024-01-01 10:00:00+01', NULL] AS moments, DATE '2024-01-01' AS day, TIME '10:00' AS hour,
        170141183460469231731687303715884105727::HUGEINT AS huge, MAP {'k': 1} AS m, '{"raw": [1.50]}'::JSON AS raw,
        uuid '653e1849-a40d-4894-a9ae-eb63a456ea37' AS id, 'a"b' AS "q""uote's", [[1], []] AS nested"""
    send(sandbox, sql=query)
    (request,) = sandbox.requests()
    for expected in (
        '"s":{"d":1.10,"at":"2024-01-01T10:00:00.5","no":null}',
        '"moments":["2024-01-01T09:00:00.000Z",null]',
        '"day":"2024-01-01","hour":"10:00:00"',
        '"huge":170141183460469231731687303715884105727',
        '"m":{"k":1},"raw":{"raw": [1.50]},"id":"653e1849-a40d-4894-a9ae-eb63a456ea37"',
        '"q\\"uote\'s":"a\\"b","nested":[[1],[]]',
    ):
        assert expected in request.body.decode()


def test_a_tables_numbers_keep_the_digits_that_sql_shows(sandbox: Sandbox) -> None:
    numbers = {
        "-0.50::DECIMAL(2,2)": "-0.50",
        "0::DECIMAL(4,3)": "0.000",
        "'-12345678901234567890123456789012345.678'::DECIMAL(38,3)": "-12345678901234567890123456789012345.678",
        "'-9223372036854775808'::BIGINT": "-9223372036854775808",
        "18446744073709551615::UBIGINT": "18446744073709551615",
        "'-128'::TINYINT": "-128",
        "65535::USMALLINT": "65535",
        "77::DOUBLE": "77.0",
        "-0.0::DOUBLE": "-0.0",
        "0.1::DOUBLE": "0.1",
        "0.1::FLOAT": "0.1",
        "12.30::DOUBLE": "12.3",
        "9007199254740993::DOUBLE": "9007199254740992.0",
        "9999999999999998::DOUBLE": "9999999999999998.0",
        "1e16::DOUBLE": "1e+16",
        "0.00001::DOUBLE": "1e-05",
        "5e-324::DOUBLE": "5e-324",
        "123456.789e100::DOUBLE": "1.23456789e+105",
    }
    columns = ", ".join(f"{number} AS n{at}" for at, number in enumerate(numbers))
    send(sandbox, sql=f"SELECT 'u' AS user_id, {columns}, {{'in': 1.50::DOUBLE, 'l': [0.10::DECIMAL(3,2)]}} AS s")
    (request,) = sandbox.requests()
    body = request.body.decode()
    for at, digits in enumerate(numbers.values()):
        assert f'"n{at}":{digits},' in body
    assert '"s":{"in":1.5,"l":[0.10]}' in body


def test_every_part_of_an_arrow_table_keeps_its_values(sandbox: Sandbox) -> None:
    rows: list[dict[str, Any]] = [
        {
            "user_id": f"u{n}",
            "member": None if n % 5 == 0 else n % 2 == 0,
            "inner": None if n % 7 == 0 else {"n": n, "text": None if n % 3 == 0 else TEXTS[n % len(TEXTS)]},
            "list": None if n % 11 == 0 else [{"k": k} for k in range(n % 4)],
            "pair": None if n % 13 == 0 else [n, None],
        }
        for n in range(100)
    ]
    schema = pa.schema(
        {
            "user_id": pa.string(),
            "member": pa.bool_(),
            "inner": pa.struct({"n": pa.int16(), "text": pa.large_string()}),
            "list": pa.large_list(pa.struct({"k": pa.uint8()})),
            "pair": pa.list_(pa.int64(), 2),
        }
    )
    table = pa.Table.from_pylist(rows, schema)
    parts = [table.slice(0, 3), table.slice(3, 50), table.slice(53)]
    assert send(sandbox, pa.concat_tables(parts)).delivered == 100
    assert send(sandbox, table.slice(31, 20)).delivered == 20
    found = sorted(str(event["rawData"]["properties"]) for event in sandbox.events())
    body = [str({key: value for key, value in row.items() if key != "user_id"}) for row in rows]
    assert found == sorted(body + body[31:51])


def test_a_value_that_json_cannot_hold_is_found_wherever_a_table_has_it(sandbox: Sandbox) -> None:
    nested = pa.array([{"l": [1.0, float("inf")]}, {"l": [2.0]}])
    broken = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    sent = send(sandbox, pa.table({"user_id": ["u1", "u2"], "nested": nested, "text": broken}))
    assert (sent.delivered, sent.rejected) == (0, 2)
    told = [(line["code"], line["path"]) for line in rejected("intilery-rejects.ndjson")]
    assert told == [("not_finite", "properties.nested.l[1]"), ("invalid_text", "properties.text")]
    first, second = rejected("intilery-rejects.ndjson")
    assert first["values"] == {"user_id": "u1", "nested": {"l": [1.0, "inf"]}, "text": "ok"}
    assert second["values"]["text"] == "\ufffd"


def test_nan_is_rejected_and_integers_that_pandas_made_floats_are_still_ids(sandbox: Sandbox) -> None:
    sent = send(sandbox, pl.DataFrame({"user_id": [1.0, 2.0], "timestamp": [DAY, DAY], "n": [float("nan"), 1.0]}))
    assert (sent.delivered, sent.rejected) == (1, 1)
    (line,) = rejected("intilery-rejects.ndjson")
    assert (line["row"], line["code"], line["path"]) == (1, "not_finite", "properties.n")
    assert line["values"] == {"user_id": "1", "timestamp": "2024-01-01T00:00:00.000Z", "n": "nan"}
    assert [user for user, _, _ in arrived(sandbox)] == ["2"]


def test_send_many_waits_for_room_whatever_on_full_says(sandbox: Sandbox) -> None:
    rows = [{"user_id": f"u{n}", "text": "x" * 1000} for n in range(500)]
    with sandbox.client(max_queue_bytes=50_000, on_full="drop_oldest") as client:
        assert client.send_many(rows, event="E").delivered == 500
        assert client.send_many(pa.Table.from_pylist(rows), event="E").delivered == 500


def test_before_send_sees_every_row_with_the_rows_own_id(sandbox: Sandbox) -> None:
    seen: list[dict[str, Any]] = []

    def scrub(message: dict[str, Any]) -> dict[str, Any] | None:
        seen.append(dict(message))
        if message["userId"] == "u2":
            return None
        message["properties"] = {"scrubbed": True}
        return message

    rows = [{"user_id": "u1", "secret": 1}, {"user_id": "u2", "secret": 2}]
    send(sandbox, pa.Table.from_pylist(rows))
    unchanged = ids(sandbox)
    sandbox.clear()
    with sandbox.client(before_send=scrub) as client:
        for source in (rows, pa.Table.from_pylist(rows)):
            sent = client.send_many(source, event="Order")
            assert (sent.delivered, sent.rejected) == (1, 1)
    assert [event["rawData"]["properties"] for event in sandbox.events()] == [{"scrubbed": True}] * 2
    assert set(ids(sandbox)) < set(unchanged)
    assert set(seen[0]) == {"action", "userId", "event", "properties", "messageId"}


def test_a_limit_takes_the_first_rows(sandbox: Sandbox) -> None:
    rows = [{"user_id": f"u{n}"} for n in range(10)]
    for source in (rows, pa.Table.from_pylist(rows)):
        assert send(sandbox, source, limit=3).rows == 3
    assert {user for user, _, _ in arrived(sandbox)} == {"u0", "u1", "u2"}


def test_progress_is_told_and_always_adds_up(sandbox: Sandbox) -> None:
    told: list[Sent] = []
    sent = send(sandbox, sql="SELECT 'u' || range AS user_id FROM range(50000)", progress=told.append)
    assert told[-1][:8] == sent[:8]
    for moment in told:
        assert moment.rows == moment.delivered + moment.rejected + moment.failed + moment.remaining


def test_a_run_with_a_checkpoint_is_not_sent_twice_and_takes_what_was_added(sandbox: Sandbox) -> None:
    path = Path("a.csv")
    path.write_text("user_id\nu1\n,\nu2\n")
    first = send(sandbox, path, checkpoint=True)
    assert (first.rows, first.delivered, first.rejected) == (3, 2, 1)
    again = send(sandbox, path, checkpoint=True)
    assert (again.rows, again.delivered, again.resumed) == (3, 2, 3)
    with path.open("a") as file:
        file.write("u3\n,\n")
    grown = send(sandbox, path, checkpoint=True)
    assert (grown.rows, grown.delivered, grown.rejected, grown.resumed) == (5, 3, 2, 3)
    assert [user for user, _, _ in arrived(sandbox)] == ["u1", "u2", "u3"]
    assert [line["row"] for line in rejected("a.csv.rejects.ndjson")] == [2, 5]


def test_rows_that_were_settled_out_of_order_are_not_sent_again(sandbox: Sandbox) -> None:
    rows = [{"user_id": "stuck" if n in (10, 500) else f"u{n}", "n": n} for n in range(1_000)]
    rows[20] = {"user_id": None, "n": 20}
    sandbox.set_faults({"user_id": "stuck", "status": 503})

    def close(sent: Sent) -> None:
        if sent.remaining == 2 and sent.rows == 1_000:
            client.close(timeout=0)

    with sandbox.client(delivery="event") as client, pytest.raises(ClosedError):
        client.send_many(rows, event="Order", checkpoint="c", progress=close)
    before = sandbox.event_count()
    assert before == 997
    sandbox.set_faults()
    sent = send(sandbox, rows, checkpoint="c")
    assert (sent.rows, sent.delivered, sent.rejected, sent.resumed) == (1_000, 999, 1, 998)
    assert sandbox.event_count() == before + 2
    assert [line["row"] for line in rejected("intilery-rejects.ndjson")] == [21]
    assert send(sandbox, rows, checkpoint="c").resumed == 1_000


def test_a_service_that_is_away_for_too_long_stops_the_run_and_the_next_one_goes_on() -> None:
    rows = [{"user_id": f"u{n % 50}", "n": n} for n in range(3_000)]
    with Sandbox(rate_limit=0) as first:
        port = first.port

        def leave(sent: Sent) -> None:
            if sent.delivered > 0:
                first.stop()

        with first.client(
            delivery="event", rate_limit=2_000, burst=100, delivery_timeout=0.5, exit_timeout=0
        ) as client:
            with pytest.raises(DeliveryError, match="the same run, started again, goes on") as caught:
                client.send_many(rows, event="Order", checkpoint="c", progress=leave)
            assert caught.value.reason == "expired"
            client.close(timeout=0)
        assert not Path("intilery-rejects.ndjson").exists()
        before = {event["rawData"]["properties"]["n"] for event in first.events()}
    with Sandbox(rate_limit=0, port=port) as second:
        sent = send(second, rows, checkpoint="c")
        after = {event["rawData"]["properties"]["n"] for event in second.events()}
    assert (sent.rows, sent.delivered, sent.failed, sent.remaining) == (3_000, 3_000, 0, 0)
    assert 0 < sent.resumed <= len(before)
    assert before | after == set(range(3_000))


def test_a_run_waits_for_a_service_that_comes_back() -> None:
    rows = [{"user_id": f"u{n % 50}", "n": n} for n in range(1_000)]
    servers = [Sandbox(rate_limit=0)]
    port = servers[0].port
    told: list[str] = []

    def leave_and_return(sent: Sent) -> None:
        told.append(client.stats().state)
        if len(servers) == 1 and sent.delivered > 0:
            servers[0].stop()
            servers.append(servers[0])
        if told[-1] == "paused: unreachable" and len(servers) == 2:
            servers.append(Sandbox(rate_limit=0, port=port))

    with servers[0].client(delivery="event", rate_limit=2_000, burst=100, retry_max=0.2) as client:
        sent = client.send_many(rows, event="Order", progress=leave_and_return)
    arrived = {event["rawData"]["properties"]["n"] for server in servers for event in server.events()}
    servers[-1].stop()
    assert len(servers) == 3
    assert (sent.delivered, sent.failed) == (1_000, 0)
    assert arrived == set(range(1_000))


def test_a_refused_token_stops_the_run_and_no_row_is_lost(sandbox: Sandbox) -> None:
    rows = [{"user_id": f"u{n}"} for n in range(100)]
    with sandbox.client(auth_token="wrong", delivery_timeout=0.3, exit_timeout=0) as client:
        with pytest.raises(AuthError, match="goes on"):
            client.send_many(rows, event="Order", checkpoint="c")
        client.close(timeout=0)
    assert not Path("intilery-rejects.ndjson").exists()
    assert send(sandbox, rows, checkpoint="c").delivered == sandbox.event_count() == 100


FULL_DISK = """
import contextlib, json, sys
from pathlib import Path
from intilery import Client, ConfigurationError
folder, full = sys.argv[1], sys.argv[2]
rows = [{"user_id": None if n % 2 else f"u{n}", "n": n, "text": "x" * 200} for n in range(20_000)]
paths = {"rejects": f"{folder}/r", "checkpoint": f"{folder}/c"}
elsewhere = {name: Path(path).name for name, path in paths.items() if name != full}
stone = Path(folder, "stone")
with Client.from_env() as client:
    if full == "checkpoint":  # SQLite makes its file, and finds no room later
        client.send_many(rows[:2], event="E", **paths | elsewhere)
        with contextlib.suppress(OSError), stone.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    try:
        client.send_many(rows, event="E", **paths | elsewhere)
    except ConfigurationError as error:
        print(error.code, error.option, error)
    else:
        sys.exit("the disk was not full")
    stone.unlink(missing_ok=True)
    if full == "rejects":  # another file, as the message says, or room
        elsewhere["rejects"] = "other"
        Path(elsewhere["rejects"]).write_bytes(Path(paths["rejects"]).read_bytes())
    sent = client.send_many(rows, event="E", **paths | elsewhere)
assert (sent.rows, sent.delivered, sent.rejected) == (20_000, 10_000, 10_000), sent
lines = Path(sent.rejects).read_text().splitlines()
assert sorted(json.loads(line)["row"] for line in lines) == list(range(2, 20_001, 2)), len(lines)
"""


@pytest.mark.parametrize("full", ["rejects", "checkpoint"])
def test_a_full_disk_stops_the_run_with_a_way_to_go_on(sandbox: Sandbox, tmp_path: Path, full: str) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    small = tmp_path / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=1m none "$1" || exit 77; exec "$2" -c "$3" "$1" "$4"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", str(small), sys.executable, FULL_DISK, full],
        env=environment(sandbox),
        timeout=60,
        capture_output=True,
        text=True,
    )
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip(f"no file system can be mounted here: {result.stderr}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith(f"{full}_unusable {full} ")
    assert "run it again" in result.stdout
    numbers = {event["rawData"]["properties"]["n"] for event in sandbox.events()}
    assert numbers == set(range(0, 20_000, 2))


def test_a_checkpoint_of_another_run_is_refused(sandbox: Sandbox) -> None:
    path = Path("a.csv")
    path.write_text("user_id,n\nu1,1\n")
    send(sandbox, path, checkpoint="c")
    with pytest.raises(ConfigurationError, match="of another run: event had another value"):
        send(sandbox, path, checkpoint="c", event="Other")
    path.write_text("user_id,n\nu2,1\n")
    with pytest.raises(ConfigurationError, match="the source has changed"):
        send(sandbox, path, checkpoint="c")
    Path("d").write_text("This is no database, and it is long enough to be seen as none." * 20)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        send(sandbox, path, checkpoint="d")
    assert sandbox.event_count() == 1


def test_a_client_that_is_closed_meanwhile_ends_the_run_and_the_next_one_goes_on(sandbox: Sandbox) -> None:
    rows = [{"user_id": f"u{n}"} for n in range(300)]
    client = sandbox.client(delivery="event", rate_limit=100, burst=100)

    def close(sent: Sent) -> None:
        if sent.delivered > 0:
            client.close(timeout=0)

    with pytest.raises(ClosedError):
        client.send_many(rows, event="Order", checkpoint="c", progress=close)
    assert sandbox.event_count() < 300
    sent = send(sandbox, rows, checkpoint="c")
    assert (sent.rows, sent.delivered, sent.remaining) == (300, 300, 0)
    assert len(set(ids(sandbox))) == 300


def test_the_async_client_sends_tables_and_async_iterables(sandbox: Sandbox) -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for n in range(1_000):
            yield {"user_id": f"u{n}", "text": "x" * 500}
        yield {"user_id": None}

    async def main() -> None:
        ticks = 0
        told: list[Sent] = []

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with sandbox.async_client(max_queue_bytes=100_000) as client:
            sent = await client.send_many(rows(), event="Order", progress=told.append)
            assert (sent.rows, sent.delivered, sent.rejected) == (1_001, 1_000, 1)
            assert told[-1].delivered == 1_000
            sent = await client.send_many(pa.Table.from_pylist(ROWS), event="Order")
            assert sent.delivered == 2
            with pytest.raises(ConfigurationError):
                await client.send_many(ROWS, event="Order", user_id="nobody")
        ticking.cancel()
        assert ticks > 0

    asyncio.run(main())


def test_a_cancelled_send_many_ends_at_once(sandbox: Sandbox) -> None:
    async def main() -> None:
        async with sandbox.async_client(delivery="event", rate_limit=1, burst=1, exit_timeout=0) as client:
            query = "SELECT 'u' || range AS user_id FROM range(100)"
            sending = asyncio.create_task(client.send_many(sql=query, event="Order", checkpoint="c"))
            while sandbox.event_count() == 0:
                await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(sending, 5)
            await client.close(timeout=0)

    asyncio.run(main())
    assert sandbox.event_count() < 100


def test_without_duckdb_dicts_are_sent_and_a_table_says_what_to_install(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert send(sandbox, ROWS).delivered == 2
    with pytest.raises(ImportError, match=r"pip install 'intilery\[data\]'"):
        send(sandbox, pa.Table.from_pylist(ROWS))


@pytest.mark.skipif(int(duckdb.__version__.split(".")[0]) < 2, reason="DuckDB before 2 needs pyarrow")
@pytest.mark.parametrize("kind", ["polars", "an Arrow stream", "Parquet"])
def test_duckdb_needs_no_pyarrow(sandbox: Sandbox, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCES[kind]()
    if kind != "an Arrow stream":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    send(sandbox, source)
    assert arrived(sandbox) == EXPECTED


TEXTS: list[str | None] = ["short", None, "long enough to lie in a buffer of its own", "", "é" * 20, None, "last"]
ARROW_TYPES = [pa.string(), pa.large_string(), pa.string_view()]


@pytest.mark.parametrize("kind", ARROW_TYPES, ids=str)
@pytest.mark.parametrize("sliced", [False, True])
def test_the_cores_reader_knows_arrows_text_layouts_validity_and_offsets(
    sandbox: Sandbox, kind: Any, sliced: bool
) -> None:
    from intilery import _native

    users = pa.array([f"u{n}" for n in range(len(TEXTS))], kind)
    event = pa.array(TEXTS, kind)
    moments = pa.array([None if n == 1 else 1_704_067_200_000 + n for n in range(len(TEXTS))], pa.int64())
    none = pa.nulls(len(TEXTS), kind)
    columns = [users, pa.nulls(len(TEXTS)), event, none, none, moments, event]
    batch = pa.RecordBatch.from_arrays(columns, [f"c{n}" for n in range(7)])
    if sliced:
        batch = batch.slice(2, 4)
    with sandbox.client() as client:
        names = dict.fromkeys(["user_id", "anonymous_id", "event", "timestamp", "message_id"])
        columns_given: dict[str, Any] = {**names, "only": False, "listed": []}
        sender = _native.RowSender(client, "track", "", "", "", False, [], columns_given)
        sender.open(pa.RecordBatchReader.from_batches(batch.schema, [batch]), [("text", "value")], False)
        while sender.step(1, None):
            pass
        client.flush()
        _, total, rejects, _, _ = sender.take()
    texts = TEXTS[2:6] if sliced else TEXTS
    assert total[0] == len(texts)
    assert len(rejects) == sum(1 for text in texts if not text)  # an event needs a name
    events = sorted((event["rawData"] for event in sandbox.events()), key=lambda event: str(event["userId"]))
    assert [event["event"] for event in events] == [text for text in texts if text]
    assert all(event["properties"] == {"text": event["event"]} for event in events)
    for sent in events:
        number = int(sent["userId"][1:])
        assert sent["timestamp"].endswith(f"00:00:00.{number:03d}Z")


def test_a_reject_file_is_only_its_owners(sandbox: Sandbox) -> None:
    before = os.umask(0)
    try:
        send(sandbox, [{"user_id": None, "secret": 1}, 5], rejects="r", user_id="user_id")
    finally:
        os.umask(before)
    assert Path("r").stat().st_mode & 0o777 == 0o600
    assert [line["values"] for line in rejected("r")] == [{"user_id": None, "secret": 1}, 5]
