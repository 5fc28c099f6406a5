"""Writes what was measured into docs/proof.md, between the marks that bear its name."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from harness import ROOT

PAGE = ROOT / "docs/proof.md"


def machine() -> str:
    """Where and when: one sentence for under a table."""
    processor = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    name = re.sub(r"\(R\)|\(TM\)| CPU| Processor|@.*", "", processor[1]).strip() if processor else platform.machine()
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip().lstrip("v")
    kernel = platform.release().split("-")[0]
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores ({name}) shared with other work,"
        f" Linux {kernel}, Python {platform.python_version()}, Node {node}."
    )


def table(heading: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; whole numbers with commas."""

    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"

    heading = list(heading)
    return "\n".join([line(heading), line(["---"] * len(heading)), *map(line, rows)])


def write(name: str, text: str) -> None:
    """Puts a text between the page's marks of that name."""
    begin, end = f"<!-- {name}: made -->", f"<!-- {name}: end -->"
    page = PAGE.read_text()
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE} has no place for {name}")
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
