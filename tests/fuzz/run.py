"""Runs the fuzz targets of build/fuzz, as many at once as are asked for, and says what came of it.

From `make fuzz`: FUZZ_SECONDS for each target (default 3600), FUZZ_TARGETS (names, default all), FUZZ_JOBS at once
(default 2). What breaks a property or crashes is left in tests/fuzz/findings/TARGET, where the ordinary tests replay
it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build" / "fuzz"
COLUMNS = ("target", "seconds", "executions", "executions/s", "edges", "corpus", "findings")


def fuzz(target: str, seconds: int) -> dict[str, object]:
    corpus, findings = BUILD / "corpus" / target, HERE / "findings" / target
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(findings.glob("*"))
    command = [
        str(BUILD / "tests" / "fuzz" / f"fuzz_{target}"),
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
        "-timeout=60",
        "-rss_limit_mb=3000",
        f"-dict={HERE / 'words.dict'}",
        f"-artifact_prefix={findings}/",
        "-report_slow_units=30",
        str(corpus),
        str(HERE / "seeds" / target),
    ]
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "allocator_may_return_null=1:handle_abort=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    log = BUILD / f"{target}.log"
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with log.open("wb") as out, tempfile.TemporaryDirectory(prefix="intilery-fuzz-", dir=memory) as temporary:
        environment["TMPDIR"] = temporary
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    text = log.read_text(errors="replace")
    if code != 0:
        print(f"{target}: a finding; {log} says which", file=sys.stderr)

    def last(pattern: str) -> int:
        found = re.findall(pattern, text)
        return int(found[-1]) if found else 0

    executions = last(r"stat::number_of_executed_units: (\d+)") or last(r"#(\d+)\t")
    took = last(r"Done \d+ runs in (\d+) second")
    result = {
        "target": target,
        "seconds": took or (seconds if code == 0 else 0),
        "executions": executions,
        "executions/s": last(r"stat::average_exec_per_sec:\s+(\d+)") or (executions // took if took else 0),
        "edges": last(r"cov: (\d+)"),
        "corpus": last(r"corp: (\d+)"),
        "findings": len(set(findings.glob("*")) - before) or int(code != 0),
    }
    if findings.is_dir() and not any(findings.iterdir()):
        findings.rmdir()
    return result


def main() -> int:
    programs = (BUILD / "tests" / "fuzz").glob("fuzz_*")
    known = sorted(path.name[5:] for path in programs if path.is_file())
    chosen = os.environ.get("FUZZ_TARGETS", "").split() or known
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        print(f"there is no target {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    seconds = int(os.environ.get("FUZZ_SECONDS", "3600"))
    with ThreadPoolExecutor(int(os.environ.get("FUZZ_JOBS", "2"))) as pool:
        results = list(pool.map(lambda target: fuzz(target, seconds), chosen))
    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * (len(COLUMNS) - 1))
    for result in results:
        cells = [f"{value:,}" if isinstance(value, int) else str(value) for value in result.values()]
        print("| " + " | ".join(cells) + " |")
    print(json.dumps(results))
    return 1 if any(result["findings"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
