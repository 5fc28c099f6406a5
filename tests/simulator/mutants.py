"""Breaks the client in a copy of its sources, one way at a time, and sees whether the simulator finds it.

python tests/simulator/mutants.py [SECONDS] [NAME ...]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGINE = "core/src/delivery/engine.cpp"

#: Name, file, what stands there, and what is put in its place.
MUTANTS = [
    (
        "any answer ends a probe",
        "core/src/delivery/circuit.hpp",
        "    probe_ended(request);\n",
        "    probe_ = 0;\n",
    ),
    (
        "a user's events do not wait for each other",
        "core/src/queue/lanes.hpp",
        "return held > 0 || (settling",
        "return (settling",
    ),
    (
        "the bucket is larger than the account's",
        "core/src/delivery/token_bucket.hpp",
        "std::max(1.0, burst - std::max(1.0, burst * held_back))",
        "burst + 2",
    ),
    (
        "a refused batch is not split",
        ENGINE,
        'shipment->events.size() > 1 && shipment->last.code == "rejected"',
        "false",
    ),
    (
        "a 403 discards",
        ENGINE,
        "  if (!shipment->failing_since) shipment->failing_since = now;\n  retry_at(std::move(shipment), now);\n",
        '  fail(std::move(shipment), "unauthorised", "no", now);\n',
    ),
    (
        "a lost answer is forgotten",
        ENGINE,
        "  shipment->may_have_arrived |= shipment->last.may_have_arrived;\n",
        "",
    ),
    (
        "a command does not wait for long enough",
        "core/src/queue/lanes.hpp",
        "settling_time{500}",
        "settling_time{400}",
    ),
    (
        "Retry-After is not heard",
        "core/src/delivery/own_pace.cpp",
        "wish.value_or(usual_pause(account_rate_, burst_))",
        "wish.value_or(usual_pause(account_rate_, burst_)) / 4",
    ),
    (
        "a closing client forgets what its spool holds",
        "core/src/client_core.cpp",
        "if (outcome.closing) return;",
        "if (outcome.closing) return spool->remove(events);",
    ),
    (
        "what waits for a reading is slept over",
        ENGINE,
        "  for (const Read& read : reads_) not_after(std::max(gate, read.not_before));\n",
        "",
    ),
    (
        "an idle client wakes every second",
        ENGINE,
        "  Nap nap;\n",
        "  Nap nap;\n  nap.until = now + std::chrono::seconds(1);\n",
    ),
    (
        "a 429 counts as failing",
        ENGINE,
        "  shipment->failing_since.reset();  // the server is there: it only waits for its turn\n",
        "  if (!shipment->failing_since) shipment->failing_since = now;\n",
    ),
    (
        "the queue has no bound",
        "core/src/queue/bounded_queue.cpp",
        "bytes_ + footprint > max_bytes_) return Push::full;",
        "bytes_ + footprint > 10 * max_bytes_) return Push::full;",
    ),
    (
        "spool files sort by the clock alone",
        "core/src/queue/spool_database.cpp",
        "moment = std::max<std::int64_t>(moment, std::strtoll(entry.path().filename().c_str(), nullptr, 10) + 1);",
        "",
    ),
    (
        "later parts of a split batch are left behind",
        ENGINE,
        "  if (shipment->next) retry_at(std::move(shipment->next), now);\n}\n\nvoid Engine::drop_oldest",
        "}\n\nvoid Engine::drop_oldest",
    ),
]


def run(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True)


def main() -> int:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "30"
    chosen = sys.argv[2:]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="intilery-mutants-") as folder:
        copy = Path(folder)
        for part in ("core", "tests", "packaging", "CMakeLists.txt", "CMakePresets.json", "LICENSE", "NOTICE.md"):
            source = ROOT / part
            shutil.copytree(source, copy / part) if source.is_dir() else shutil.copy(source, copy / part)
        # Paths relative to the build, so that the compiler's cache knows what was built before.
        os.environ["CCACHE_BASEDIR"] = folder
        configured = run("cmake", "--preset", "default", cwd=copy)
        if configured.returncode != 0:
            print(configured.stdout + configured.stderr)
            return 2
        for name, path, before, after in MUTANTS:
            if chosen and name not in chosen:
                continue
            file = copy / path
            source_text = file.read_text()
            if source_text.count(before) != 1:
                print(f"{name}: {path} is not as it was when this was written", flush=True)
                survivors += 1
                continue
            file.write_text(source_text.replace(before, after))
            built = run("cmake", "--build", "--preset", "default", "--target", "intilery_simulator", "-j2", cwd=copy)
            if built.returncode != 0:
                print(f"{name}: does not compile\n{built.stdout[-2000:]}", flush=True)
                survivors += 1
            else:
                words = ("many", "--seed", "1", "--seconds", seconds, "--stop")
                found = run("build/cmake/tests/simulator/intilery_simulator", *words, cwd=copy)
                match = re.search(r"seed (\d+) is broken: (.*)", found.stdout)
                if found.returncode == 0:
                    survivors += 1
                what = f"seed {match[1]}: {match[2][:110]}" if match else f"code {found.returncode}"
                print(f"{name}: {'NOT FOUND' if found.returncode == 0 else what}", flush=True)
            file.write_text(source_text)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
