"""The programs that measure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_program_of_bench_runs_and_tells_what_the_tables_need() -> None:
    command = [sys.executable, "bench/run.py", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "call_python" in done.stderr
