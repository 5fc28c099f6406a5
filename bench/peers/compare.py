"""The clients of other services beside ours: the same event, the same server, each in processes of its own, in turns.

    python bench/peers/compare.py [--rounds 3] [--events 20000] [--only NAME …] [--json]

Installs the clients that versions.json names into folders of their own under build/bench/peers, sets each up as its
documentation begins (client.py, client.mjs), and tells for each the best of the rounds:

    import_ms    importing or requiring it
    call_us      what a call costs the caller, in a tight loop
    cpu_us       processor time of the whole process, from the call to the acknowledgement, for each event called
    arrived_us   the same for each event that arrived
    loop_us      Node: how long the event loop was busy for each event, until all were acknowledged
    wall_us      from the first call to the last acknowledgement, for each event
    queue_bytes  memory that an event takes while it waits
    lost         events that were called and never arrived, of `events`
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

from null_server import arrived, null_server, silent_server  # noqa: E402

MARK = b"50314b8e9bcf000000000000"  # the order's id, which stands in each event once
VERSIONS: dict[str, dict[str, str]] = json.loads((HERE / "versions.json").read_text())
# The part of the events that the slow ones get: those that wait in the call, or whose calls cost more, the more wait.
SHARE = {
    "customerio": 0.1,
    "snowplow-tracker": 0.25,
    "customerio-node": 0.25,
    "mixpanel/node": 0.25,
    "@rudderstack/rudder-sdk-node": 0.1,
}
REMARKS = {
    "customerio": "each call sends, and waits",
    "mixpanel": "`BufferedConsumer`: each 50th call sends, and waits",
    "snowplow-tracker": "each 10th call sends, and waits",
    "customerio-node": "one request a call; 50 at a time",
    "mixpanel/node": "one request a call; 50 at a time",
    "mixpanel track_batch": "the program collects, 50 at a time",
    "@rudderstack/rudder-sdk-node": "a call counts all that waits anew",
}


def install(language: str, name: str) -> Path:
    """The folder that the client is in."""
    name = name.split()[0]
    version = VERSIONS[language][name]
    folder = ROOT / "build/bench/peers" / language / f"{name.strip('@').replace('/', '-')}-{version}"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        if language == "python":
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            command += ["--target", str(folder), f"{name}=={version}"]
        else:
            command = ["npm", "install", "--prefix", str(folder), "--no-package-lock", "--ignore-scripts"]
            command += ["--no-audit", "--no-fund", "--loglevel=error", f"{name}@{version}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        (folder / "installed").touch()
    return folder


def run(language: str, name: str, mode: str, url: str, events: int) -> dict[str, Any]:
    folder = None if name == "intilery" else install(language, name)
    environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    if language == "python":
        command = [sys.executable, str(HERE / "client.py"), name, mode, url, str(events)]
        if folder:
            environment["PYTHONPATH"] = str(folder)
    else:
        command = ["node", str(HERE / "client.mjs"), name, mode, url, str(events), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def send(language: str, name: str, events: int) -> dict[str, Any]:
    """One round to a server that answers, and what became of the events."""
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder, "bodies")
        with null_server(bodies) as url:
            result = run(language, name, "send", url, events)
        there = arrived(bodies, MARK)
    result["arrived_us"] = result["cpu_us"] * events / there if there else None
    result["lost"] = events - there
    return result


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The least of each figure; of the losses the most."""
    figures: dict[str, Any] = {}
    for key in rounds[0]:
        values = [each[key] for each in rounds if each[key] is not None]
        figures[key] = (max if key == "lost" else min)(values, default=None)
    return figures


def compare(rounds: int, events: int, only: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for language, peers in VERSIONS.items():
        names = ["intilery", *peers, *(["mixpanel track_batch"] if language == "node" else [])]
        names = [name for name in names if not only or name in only]
        counts = {name: int(events * SHARE.get(f"{name}/{language}", SHARE.get(name, 1))) for name in names}
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        queued: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for _ in range(rounds):
            for name in names:
                if name in failed:
                    continue
                try:
                    measured[name].append(send(language, name, counts[name]))
                    if name not in queued:
                        with silent_server() as url:
                            queued[name] = run(language, name, "queue", url, counts[name])["queue_bytes"]
                except (RuntimeError, subprocess.SubprocessError) as error:
                    print(f"{language} {name}: {error}", file=sys.stderr)
                    failed[name] = "did not run"
        results[language] = {
            name: {
                **(best(measured[name]) if name not in failed else {}),
                "queue_bytes": queued.get(name),
                "events": counts[name],
                "version": peers.get(name.split()[0]),
                "remark": failed.get(name) or REMARKS.get(f"{name}/{language}") or REMARKS.get(name, ""),
            }
            for name in names
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--install", action="store_true", help="do no more than that")
    given = parser.parse_args()
    if given.install:
        for language, peers in VERSIONS.items():
            for name in peers:
                install(language, name)
        return
    results = compare(given.rounds, given.events, given.only)
    if given.json:
        print(json.dumps(results))
        return
    columns = ("import_ms", "call_us", "cpu_us", "arrived_us", "loop_us", "wall_us", "queue_bytes", "lost", "events")
    for language, clients in results.items():
        print(f"{language:30}" + "".join(f"{column:>12}" for column in columns))
        for name, result in clients.items():
            shown = ("-" if result.get(column) is None else f"{result[column]:,.1f}" for column in columns)
            print(f"{name:30}" + "".join(f"{text:>12}" for text in shown))


if __name__ == "__main__":
    main()
