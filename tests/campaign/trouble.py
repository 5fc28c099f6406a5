"""Real trouble for real processes: kill -9, a full disk, no descriptors, no memory, a clock that jumps, and more.

In each scenario a reporter (reporter.py, .mjs, .cpp) sends events and says which calls returned, and each event's fate;
the strict server says what arrives. Lost is what was accepted, and neither arrived nor is reported as failed:

    python tests/campaign/trouble.py                                    # every scenario, 1,000 kills
    python tests/campaign/trouble.py --short --languages cpp            # a minute
    python tests/campaign/trouble.py --scenarios "disk full" --seed 7

All of it runs in namespaces of its own, where that is allowed: mounts, firewall rules and processes end with it. Where
it is not, a file size limit stands for the full disk, and a stopped server for the black hole.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import page
from harness import HERE, ROOT, SENDERS, StrictServer, client_environment

REPORTERS = {
    "python": [sys.executable, str(HERE / "reporter.py")],
    "node": ["node", str(HERE / "reporter.mjs")],
    "cpp": [str(ROOT / "build/cmake/tests/core/intilery_campaign_reporter")],
}
PATIENCE = 120.0  # seconds until a step that should end by itself counts as hung
FAKETIME = list(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
KEPT_APART = "INTILERY_CAMPAIGN_NAMESPACES"
UNSHARE = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]


stopped = threading.Event()


class Hung(Exception):
    """Something did not end in time, or all is to end now."""


class Reporter:
    """One life of a sending process; what it says is read at once, on a thread."""

    def __init__(self, run: Run, arguments: list[str], environment: dict[str, str]) -> None:
        self._run = run
        with run.log.open("a") as log:
            self.process = subprocess.Popen(
                [*REPORTERS[run.language], *arguments],
                env={**environment, **run.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the campaign, and the scheduler's share is a process's own
                restore_signals=False,  # SIGXFSZ stays ignored, as in Python: a file size limit is an error, no death
            )
        self.accepted = 0
        self.raised = 0
        self.delivered = 0
        self.ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                continue  # killed in the middle of it
            what, *about = line.split()
            with self._news:
                if what == "accepted":
                    self._run.accepted.add(about[0])
                    self.accepted += 1
                elif what == "raised":
                    self._run.raised[about[0]] += 1
                    self.raised += 1
                elif what == "delivered":
                    self._run.delivered.add(about[0])
                    self.delivered += 1
                elif what == "failed":
                    self._run.failed[about[0]] = " ".join(about[1:])
                else:
                    self.ended = True
                self._news.notify_all()

    def wait_for(self, what: str, happened: Callable[[], bool]) -> None:
        """Waits for something that this process says, or for its end."""
        limit = time.monotonic() + PATIENCE
        while not happened() and self.process.poll() is None:
            if time.monotonic() > limit or stopped.is_set():
                raise Hung(what)
            with self._news:
                self._news.wait(0.05)

    def wait_for_acceptances(self, more: int) -> None:
        number = self.accepted + more
        self.wait_for("calls that return", lambda: self.accepted >= number)

    def wait_for_refusals(self, more: int, seconds: float = PATIENCE) -> None:
        """Waits for calls that raise; for at most so long."""
        number, limit = self.raised + more, time.monotonic() + seconds
        self.wait_for("calls that raise", lambda: self.raised >= number or time.monotonic() > limit)

    def wait_for_deliveries(self, more: int) -> None:
        number = self.delivered + more
        self.wait_for("deliveries", lambda: self.delivered >= number)

    def sockets(self) -> list[int]:
        """The numbers of the descriptors that are sockets."""
        found = []
        for path in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(path).startswith("socket:"):
                    found.append(int(path.name))
        return found

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def finish(self) -> None:
        """Lets it deliver all, and end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.wait_for("the end", lambda: False)
        self._end()
        if self.process.returncode or not self.ended:
            self._run.wrong.append(f"a process ended with {self.process.returncode}")

    def _end(self) -> None:
        self.process.wait()
        self._reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


class Run:
    """One scenario in one language: its server, its processes, and what they said."""

    def __init__(self, scenario: Scenario, language: str, folder: Path, seed: int, short: bool) -> None:
        self.language = language
        self.short = short
        self.folder = folder
        self.log = folder / "log"
        self.chance = random.Random(f"{seed} {scenario.name} {language}")
        self.seed = seed
        self.accepted: set[str] = set()
        self.delivered: set[str] = set()
        self.failed: dict[str, str] = {}
        self.raised: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.note = ""
        self.troubles = 0
        self.environment: dict[str, str] = {}
        self.server: StrictServer
        self._open = contextlib.ExitStack()
        self._lives: list[Reporter] = []
        self.options: dict[str, object] = {
            "rate_limit": 1_000_000,
            "burst": 1_000_000,
            "flush_at": 20,
            "flush_interval": 0.02,
            "retry_initial": 0.02,
            "retry_max": 1,  # the longest Retry-After that the server asks for
        }

    def serve(self, faults: float = 0.1, **options: str | float | list[str]) -> None:
        self.server = self._open.enter_context(StrictServer(seed=self.seed, gaps=[], faults=faults, **options))

    def spool(self) -> Path:
        """Gives the clients a spool."""
        spool = self.folder / "spool"
        spool.mkdir(exist_ok=True)
        self.options["spool_path"] = spool
        return spool

    def start(self, *, rate: int = 500, note: int = 100) -> Reporter:
        environment = client_environment(self.server.port, self.options)
        life = Reporter(self, [str(len(self._lives)), str(note), str(rate)], environment)
        self._lives.append(life)
        return life

    def pause(self, least: float, most: float) -> None:
        if stopped.wait(self.chance.uniform(least, most)):
            raise Hung("the next trouble")

    def deliver_the_rest(self) -> None:
        """A last process takes over what lies in the spool, delivers it and ends."""
        self.start(rate=0).finish()
        for path in Path(str(self.options["spool_path"])).glob("*.spool*"):
            with contextlib.closing(sqlite3.connect(path)) as database:
                # A file without tables is of a process that was killed while it made it. It goes within a minute.
                if path.suffix != ".spool" or database.execute("SELECT name FROM sqlite_master").fetchall():
                    self.wrong.append(f"left in the spool: {path.name}")

    def judge(self, seen: dict[str, Any]) -> list[object]:
        """Compares what the processes say with what the server saw.

        Returns: arrived, twice, lost.
        """
        arrived = set(seen["ids"])
        lost = self.accepted - arrived - self.failed.keys()
        if lost:
            self.wrong.append(f"lost: {sorted(lost)[:5]} …")
        for message_id in sorted(self.delivered - arrived)[:5]:
            self.wrong.append(f"{message_id} is said to be delivered, and never arrived")
        for message_id, how in self.failed.items():
            if how.endswith(" no") and message_id in arrived:
                self.wrong.append(f"{message_id} is said not to have arrived ({how}), and did")
        killed = sum(life.process.returncode != 0 for life in self._lives)
        if len(arrived - self.accepted) > killed:  # each may have been killed between the call's return and its report
            self.wrong.append(f"{len(arrived - self.accepted)} events arrived whose calls did not return")
        if self.failed:
            self.wrong.append(f"failed: {dict(Counter(self.failed.values()))}")
        violations = Counter(seen["violations"])
        # An answer that the server wrote and the client never got was an acknowledgement to one of them only.
        excused = ["a second copy without need"]
        if len(self._lives) > 1:  # what a killed process was told, the next does not know
            excused.append("sent again before Retry-After allows")
        self.wrong += [f"{count} x {kind}" for kind, count in violations.items() if kind not in excused]
        self.wrong += [line for line in seen["examples"] if not line.startswith(tuple(excused))]
        return [len(self.accepted & arrived), seen["copies"] - len(arrived), len(lost)]

    def close(self) -> None:
        for life in self._lives:
            if life.process.poll() is None:
                life.process.send_signal(signal.SIGCONT)
                life.kill()
        self._open.close()


def kills(run: Run) -> None:
    """A process is killed within a fifth of a second of its first event, one in eight while it starts."""
    run.troubles = int(os.environ.get("INTILERY_KILLS", "4" if run.short else "1000"))
    run.spool()
    run.serve(faults=0.2)
    lives = []
    starting = 0.05
    for number in range(run.troubles):
        began = time.monotonic()
        life = run.start()
        if number % 8 == 7:
            run.pause(0, 1.2 * starting)
        else:
            life.wait_for_acceptances(1)
            starting = time.monotonic() - began
            began = time.monotonic()
            run.pause(0.02, 0.2)
        life.kill()
        lives.append(time.monotonic() - began)
        if life.process.returncode != -signal.SIGKILL:
            run.wrong.append(f"life {number} ended with {life.process.returncode}")
    run.note = f"{sum(lives) / len(lives) * 1000:.0f} ms each"
    run.deliver_the_rest()


def disk_full(run: Run) -> None:
    """The spool's disk has no room while the server says nothing, then has room again; with a kill in between."""
    spool = run.spool()
    run.options["max_queue_bytes"] = 1_000_000_000
    run.serve()
    run.troubles = 2 if run.short else 5
    apart = bool(os.environ.get(KEPT_APART))
    if apart:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "campaign", str(spool)], check=True)
    run.note = "3 MB tmpfs" if apart else "RLIMIT_FSIZE"
    try:
        life = run.start(rate=500, note=5000)
        for number in range(run.troubles):
            run.server.send_signal(signal.SIGSTOP)
            if not apart:
                resource.prlimit(life.process.pid, resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
            life.wait_for_refusals(100)
            if number % 2:
                life.kill()
            run.server.send_signal(signal.SIGCONT)
            if number % 2:
                life = run.start(rate=500, note=5000)
            life.wait_for_acceptances(100)
        life.finish()
        run.deliver_the_rest()
    finally:
        if apart:
            subprocess.run(["umount", "--lazy", str(spool)], check=True)
    if set(run.raised) != {"SpoolError"}:
        run.wrong.append(f"raised: {dict(run.raised)}")


def no_descriptors(run: Run) -> None:
    """No descriptor can be had (RLIMIT_NOFILE) while the server ends one connection in two; then they can be again."""
    run.spool()
    run.serve(faults=0.5, kinds=["closed", "reset unread", "lost by reset"])
    run.troubles = 2 if run.short else 8
    life = run.start()
    for _ in range(run.troubles):
        life.wait_for_deliveries(20)
        before = resource.prlimit(life.process.pid, resource.RLIMIT_NOFILE)
        limit = min(life.sockets(), default=8)  # no lower number becomes free
        resource.prlimit(life.process.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
        time.sleep(0.5)  # the open connections end one after the other, or are left
        delivered = life.delivered
        run.pause(0.3, 1.5)
        if life.delivered > delivered + 100:
            run.wrong.append(f"{life.delivered - delivered} deliveries without descriptors: this shows nothing")
        resource.prlimit(life.process.pid, resource.RLIMIT_NOFILE, before)
    life.wait_for_deliveries(20)
    life.finish()
    run.deliver_the_rest()


def no_memory(run: Run) -> None:
    """No memory can be had (RLIMIT_AS) while 20 kB events pile up; a process that this ends is started again."""
    run.spool()
    run.options["max_queue_bytes"] = 1_000_000_000
    run.serve()
    run.troubles = 2 if run.short else 6
    deaths = 0
    life = run.start(rate=1000, note=20_000)
    for _ in range(run.troubles):
        life.wait_for_deliveries(20)
        run.server.send_signal(signal.SIGSTOP)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end at any moment
            size = int(Path(f"/proc/{life.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
            before = resource.prlimit(life.process.pid, resource.RLIMIT_AS)
            resource.prlimit(life.process.pid, resource.RLIMIT_AS, (size + 4_000_000, before[1]))
            life.wait_for_refusals(50, seconds=1.5 if run.short else 4)
            resource.prlimit(life.process.pid, resource.RLIMIT_AS, before)
        run.server.send_signal(signal.SIGCONT)
        if life.process.poll() is not None:
            deaths += 1
            life.kill()
            life = run.start(rate=1000, note=20_000)
    life.wait_for_deliveries(20)
    life.finish()
    run.deliver_the_rest()
    run.note = f"{deaths} processes ended by it" if deaths else ""
    if not deaths and not run.raised:
        run.wrong.append("memory never ran out: this shows nothing")


def clock_jumps(run: Run) -> None:
    """The wall clock jumps a day forwards and backwards (libfaketime; the monotonic one goes on), a kill on the way."""
    if not FAKETIME:
        raise SystemExit("no libfaketime: packaging/system-packages campaign")
    run.spool()
    run.serve()
    clock = run.folder / "clock"

    def jump(days: int) -> None:
        following = run.folder / "next"
        following.write_text(f"{days:+d}d")
        os.replace(following, clock)

    jump(0)
    run.environment = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    run.troubles = 4 if run.short else 40
    life = run.start()
    for number in range(run.troubles):
        life.wait_for_deliveries(20)
        jump((1, 0, -1, 0, 1, -1)[number % 6])
        run.pause(0.05, 0.3)
        if number % 6 == 2:
            life.kill()
            life = run.start()
    life.wait_for_deliveries(20)
    life.finish()
    run.deliver_the_rest()


def suspended(run: Run) -> None:
    """The process is stopped (SIGSTOP) for longer than its request's time-out, and goes on."""
    run.options["request_timeout"] = 1
    run.serve(faults=0.2)
    run.troubles = 2 if run.short else 10
    life = run.start()
    for _ in range(run.troubles):
        life.wait_for_deliveries(20)
        run.pause(0, 0.1)
        life.process.send_signal(signal.SIGSTOP)
        run.pause(1.1, 1.2 if run.short else 3)
        life.process.send_signal(signal.SIGCONT)
    life.wait_for_deliveries(20)
    life.finish()


def server_restarts(run: Run) -> None:
    """The server is killed and started again."""
    run.serve(journal=str(run.folder / "journal"))
    run.troubles = 3 if run.short else 100
    life = run.start(rate=100)
    life.wait_for_deliveries(10)
    for _ in range(run.troubles):
        run.pause(0.02, 0.2)
        run.server.kill()
        run.pause(0, 0.1)
        run.server.start()
    life.wait_for_deliveries(20)
    life.finish()


def redis_restarts(run: Run) -> None:
    """Redis, which holds the account's rate, is killed and started again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(run.folder)]

    def start_redis() -> subprocess.Popen[bytes]:
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        limit = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return redis
            except OSError:
                if time.monotonic() > limit:
                    raise Hung("Redis") from None
                time.sleep(0.01)

    run.options.update(rate_limit_store=f"redis://127.0.0.1:{port}", rate_limit=200, burst=50)
    run.serve(rate=200, burst=50)
    run.troubles = 2 if run.short else 20
    redis = start_redis()
    try:
        life = run.start()
        for _ in range(run.troubles):
            life.wait_for_deliveries(20)
            redis.kill()
            redis.wait()
            run.pause(0.1, 1)
            redis = start_redis()
        life.wait_for_deliveries(20)
        life.finish()
    finally:
        redis.kill()
        redis.wait()


def black_hole(run: Run) -> None:
    """The network swallows every packet between client and server, and then does not."""
    run.options.update(request_timeout=1, connect_timeout=0.5)
    run.serve()
    apart = bool(os.environ.get(KEPT_APART))
    run.note = "iptables DROP" if apart else "the server stopped"

    def swallow(on: bool) -> None:
        if not apart:
            run.server.send_signal(signal.SIGSTOP if on else signal.SIGCONT)
            return
        for end in ("--dport", "--sport"):
            rule = ["INPUT", "-p", "tcp", end, str(run.server.port), "-j", "DROP"]
            subprocess.run(["iptables", "--wait", "-I" if on else "-D", *rule], check=True)

    run.troubles = 1 if run.short else 10
    life = run.start()
    for _ in range(run.troubles):
        life.wait_for_deliveries(20)
        swallow(True)
        time.sleep(0.2)
        before = life.delivered
        run.pause(1.2, 1.5 if run.short else 3)
        if life.delivered > before:
            run.wrong.append(f"{life.delivered - before} deliveries through a black hole: this shows nothing")
        swallow(False)
    life.wait_for_deliveries(20)
    life.finish()


def bad_answers(run: Run) -> None:
    """Requests reset in their body, answers byte by byte, answers that stop in the middle."""
    run.options.update(request_timeout=1, max_connections=16, max_batch_bytes=20_000)
    run.serve(
        faults=0.3, kinds=["reset in the body", "dribbled", "stalled", "closed in the body", "closed in the head"]
    )
    life = run.start(rate=200, note=3000)
    life.wait_for_deliveries(200 if run.short else 2000)
    life.finish()


class Scenario:
    """A kind of trouble."""

    def __init__(self, name: str, play: Callable[[Run], None]) -> None:
        self.name = name
        self.play = play


SCENARIOS = [
    Scenario("kill -9", kills),
    Scenario("disk full", disk_full),
    Scenario("no descriptors", no_descriptors),
    Scenario("no memory", no_memory),
    Scenario("clock jumps by a day", clock_jumps),
    Scenario("suspended", suspended),
    Scenario("server killed", server_restarts),
    Scenario("Redis killed", redis_restarts),
    Scenario("black hole", black_hole),
    Scenario("resets, slow and half answers", bad_answers),
]
HEADING = (
    *("trouble", "language", "times", "accepted", "raised", "arrived", "twice", "lost", "seconds", "seed", "verdict"),
    "how",
)
ROW = "{:30} {:8} {:>6} {:>9} {:>8} {:>8} {:>7} {:>5} {:>8} {:>7}  {:7}  {}"


def play(scenario: Scenario, language: str, arguments: argparse.Namespace) -> list[object]:
    """Plays one scenario and prints its row."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        run = Run(scenario, language, Path(folder), arguments.seed, arguments.short)
        counts: list[object] = ["-", "-", "-"]
        try:
            scenario.play(run)
            seen = run.server.report()
            counts = run.judge(seen)
            run.troubles = run.troubles or sum(seen["faults"].values())
            first, last = (time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S") for stamp in seen["timestamps"])
            if scenario.play is clock_jumps and time.mktime(last) - time.mktime(first) < 86_400:
                run.wrong.append("no timestamp jumped: this shows nothing")
        except Hung as hung:
            run.wrong.append(f"waited {PATIENCE:g} s in vain, or was ended, before {hung}")
        except Exception as error:
            run.wrong.append(f"the scenario itself broke: {error!r}")
        finally:
            run.close()
        if run.wrong and run.log.exists():
            run.wrong += run.log.read_text().splitlines()[-3:]
    row: list[object] = [scenario.name, language, run.troubles, len(run.accepted), sum(run.raised.values()), *counts]
    row += [round(time.monotonic() - begin), str(arguments.seed), "OFF" if run.wrong else "ok", run.note]
    print("\n    ".join([ROW.format(*row), *run.wrong]), flush=True)
    return row


def apart(arguments: argparse.Namespace) -> None:
    """Goes on in namespaces of its own, if that is allowed."""
    if os.environ.get(KEPT_APART) is None and not arguments.here:
        unshare = [*UNSHARE, *(["--user", "--map-root-user"] if os.getuid() else [])]
        probe = "ip link set lo up && iptables --wait -L -n && mount -t tmpfs probe /mnt"
        if subprocess.run([*unshare, "sh", "-c", probe], capture_output=True, check=False).returncode == 0:
            os.environ[KEPT_APART] = "yes"
            command = ["setpriv", "--pdeathsig", "KILL", *unshare, sys.executable, *sys.argv]
            sys.exit(subprocess.run(command, check=False).returncode)
        os.environ[KEPT_APART] = ""
    if os.environ.get(KEPT_APART):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenarios", nargs="+", choices=names, default=names)
    parser.add_argument("--languages", nargs="+", choices=SENDERS, default=list(SENDERS))
    parser.add_argument("--short", action="store_true", help="every scenario for a few seconds, with few kills")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--here", action="store_true", help="in no namespaces of its own")
    parser.add_argument("--write", action="store_true", help="write the table into docs/proof.md")
    arguments = parser.parse_args()
    apart(arguments)
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())  # so that no process stays behind
    signal.signal(signal.SIGINT, lambda *_: stopped.set())

    print(ROW.format(*HEADING), flush=True)
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in arguments.scenarios]
    with ThreadPoolExecutor(len(arguments.languages)) as pool:  # the languages at once
        by_language = pool.map(
            lambda language: [play(scenario, language, arguments) for scenario in scenarios], arguments.languages
        )
        rows = [row for rows in zip(*by_language) for row in rows]
    if arguments.write:
        write(rows)
    if any(row[-2] != "ok" for row in rows):
        sys.exit(1)


def write(rows: list[list[object]]) -> None:
    """Puts rows into the page's table; those of other scenarios and languages stay."""
    kept = [*page.rows("trouble"), *map(page.shown, rows)]
    by_name = {(name, language): [name, language, *cells] for name, language, *cells in kept}
    order = [(scenario.name, language) for scenario in SCENARIOS for language in SENDERS]
    table = page.table(HEADING, [by_name[key] for key in order if key in by_name])
    page.write("trouble", f"{page.machine()}\n\n{table}")


if __name__ == "__main__":
    main()
