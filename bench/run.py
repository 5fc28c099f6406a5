"""Runs what bench/ measures, and writes the tables of docs/performance.md from it.

    python bench/run.py            # all, into docs/performance.md: `make bench`, under 20 minutes
    python bench/run.py --quick    # less exact, to the terminal and build/bench/quick.md: `make bench-quick`, 2 minutes
    python bench/run.py --smoke    # whether the programs run and tell what the tables need; measures nothing

A subject is a program that is run by its command and ends with one line of JSON. A row of a table takes figures from
that line; what could not be run says so in its row.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from subjects import GOALS, OTHERS, SUBJECTS, Figures, Subject
from tables import ROOT, Results, cells, page

FOLDER = ROOT / "build/bench"


def program_of(command: str) -> Path:
    words = shlex.split(command)
    words = words[words.index("--") + 1 :] if "--" in words else words
    return ROOT / next(word for word in words if "/" in word)


@contextmanager
def sandbox() -> Iterator[str]:
    """A server that every machine has which built the clients; for --smoke."""
    command = [sys.executable, "-m", "intilery", "sandbox", "--rate-limit", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def run(name: str, subject: Subject, arguments: str, environment: dict[str, str], patience: int) -> Figures | str:
    """The figures, or why there are none."""
    if not program_of(subject.command).exists():
        return "not measured: there is no program"
    words = shlex.split(f"{subject.command} {arguments} --json")
    if words[0] == "python":
        words[0] = sys.executable
    started = time.monotonic()
    pipe = subprocess.PIPE
    program = subprocess.Popen(
        words, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
    )
    try:
        output, errors = program.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        return f"not measured: it took over {patience} seconds"
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)  # its servers too
            program.communicate()
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    try:
        figures = json.loads(output.splitlines()[-1])
        assert isinstance(figures, dict)
        return figures
    except (ValueError, IndexError, AssertionError):
        print(f"{name}: {' '.join(words)}: status {program.returncode}\n{errors[-2000:]}", file=sys.stderr)
        return f"not measured: it ended with status {program.returncode}"


def smoke() -> int:
    """Whether each program that a built checkout can run tells what the tables need."""
    wrong = 0
    with sandbox() as url:
        environment = {**os.environ, "INTILERY_BENCH_ENDPOINT": url}
        for name, subject in SUBJECTS.items():
            if subject.smoke is None or not program_of(subject.command).exists():
                continue
            results = {name: run(name, subject, subject.smoke, environment, patience=60)}
            for row in GOALS + OTHERS:
                if row.subject == name and (said := cells(row, results)[0]).startswith("not measured"):
                    print(f"{name}: {row.what}: {said}")
                    wrong += 1
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--quick", action="store_true")
    way.add_argument("--smoke", action="store_true")
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(SUBJECTS)}; to the terminal")
    given = parser.parse_args()
    if given.smoke:
        return smoke()
    started = time.monotonic()
    results: Results = {}

    def arguments(subject: Subject) -> str:
        return subject.quick if given.quick else subject.whole

    for name, subject in SUBJECTS.items():
        if given.only is None or name in given.only:
            results[name] = run(name, subject, arguments(subject), dict(os.environ), patience=600)
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = not given.quick and given.only is None
    (FOLDER / ("figures.json" if whole else "quick.json")).write_text(json.dumps(results, indent=1))
    text = page(results, arguments, ROOT / "docs/images" if whole else None)
    if whole:
        (ROOT / "docs/performance.md").write_text(text)
    else:
        (FOLDER / "quick.md").write_text(text)
        print(text)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
