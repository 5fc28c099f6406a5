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


def shown(cells: Iterable[object]) -> list[str]:
    """A row's cells as text; whole numbers with commas."""
    return [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells]


def table(heading: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = [list(heading)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "\n".join(f"| {' | '.join(shown(line))} |" for line in lines)


def rows(name: str) -> list[list[str]]:
    """The rows of the table that the page has at the place of that name."""
    lines = [line for line in _parts(name)[1].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def write(name: str, text: str) -> None:
    """Puts a text at the page's place of that name."""
    before, _, after = _parts(name)
    PAGE.write_text(f"{before}\n\n{text}\n\n{after}")


def _parts(name: str) -> tuple[str, str, str]:
    """The page up to the mark before the place, what is there, and the page from the mark behind it on."""
    found = re.fullmatch(f"(.*<!-- {name}: made -->)(.*)(<!-- {name}: end -->.*)", PAGE.read_text(), re.DOTALL)
    if not found:
        raise SystemExit(f"{PAGE} has no place for {name}")
    return found[1], found[2], found[3]
