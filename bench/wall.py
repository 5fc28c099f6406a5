"""How long 1,000,000 events take from the first call to the last acknowledgement, against the calling loop alone.

    python bench/wall.py [python | node] [EVENTS] [--rounds 3] [--json]

The loop alone is the same calls to a server that takes connections and never answers. Each is run in processes of its
own, in turns; told is the best of each, and the processor time of the caller's thread in the loop
and of the whole process until the end. (C++: bench/cpp.)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import tell
from null_server import null_server, silent_server

PEERS = Path(__file__).parent / "peers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("language", choices=["python", "node"], nargs="?", default="python")
    parser.add_argument("events", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    program = [sys.executable, PEERS / "client.py"] if given.language == "python" else ["node", PEERS / "client.mjs"]
    runs: dict[str, list[dict[str, float]]] = {"queue": [], "send": []}
    with null_server() as null, silent_server() as silent:
        for _ in range(given.rounds):
            for mode, url in (("queue", silent), ("send", null)):
                command = [*program, "intilery", mode, url, str(given.events)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs[mode].append(json.loads(done.stdout))
    alone = min(run["call_us"] for run in runs["queue"])
    loop = min(run["call_us"] for run in runs["send"])
    wall = min(run["wall_us"] for run in runs["send"])
    caller = max(min(run["call_cpu_us"] for run in runs["send"]), 1e-3)  # 0 for few events: Node's has clock ticks
    process = min(run["cpu_us"] for run in runs["send"])
    result = {
        "events": given.events,
        "loop_alone_us": alone,
        "loop_us": loop,
        "wall_us": wall,
        "caller_cpu_us": caller,
        "process_cpu_us": process,
        "process_to_caller_ratio": process / caller,
        "wall_to_loop_ratio": wall / min(alone, loop),  # the queue that only grows pays for new memory
    }
    tell(result, given.json)


if __name__ == "__main__":
    main()
