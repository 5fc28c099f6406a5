"""Prints docs/faults.md from tests/vectors/faults.json: `python packaging/faults_table.py > docs/faults.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MATRIX = json.loads((Path(__file__).parents[1] / "tests" / "vectors" / "faults.json").read_text(encoding="utf-8"))

HEAD = """\
# Faults: what bad luck does to an event

Made from `tests/vectors/faults.json`, which the tests of C++, Python and Node run against the sandbox. "Once": what
becomes of the event if the fault meets its first attempt only. "Always": if it meets every one; the tests give up after
one retry or a fraction of a second, where a client by default tries on for 5 minutes. In brackets: whether the event
arrived, as its error says; how many copies the server took, all with the same message id; and "all" where other users'
events share the fate, which else are delivered meanwhile. [Errors](errors.md) tells what the reasons mean,
[delivery](delivery.md) when an event is sent again.

| on the wire | the client | once | always |
| --- | --- | --- | --- |
"""


def copies(bounds: list[int]) -> str:
    least, most = bounds
    if most <= 1:
        return ""
    return f"{least} copies" if least == most else f"{least} or more copies" if least else f"up to {most} copies"


def ending(row: dict[str, Any], case: str) -> str:
    if case not in row:
        return "the same" if case == "once" and "fault" in row else "–"
    expected = {**MATRIX[case], **row[case]}
    details = []
    end = "delivered"
    if "error" in expected:
        end = ("AuthError " if expected["error"] == "AuthError" else "") + f"`{expected['reason']}`"
        details.append(f"arrived: {expected['arrived']}")
    if most := copies(expected["stored"]):
        details.append(most)
    if expected.get("neighbour") == "shares":
        details.append("all")
    return end + (f" ({', '.join(details)})" if details else "")


def page() -> str:
    rows = [
        f"| {row['wire']} | {row['client']} | {ending(row, 'once')} | {ending(row, 'always')} |"
        for row in MATRIX["rows"]
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
