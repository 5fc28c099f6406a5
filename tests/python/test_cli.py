from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import environment

from intilery import __version__
from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]
CDNOW = ROOT / "examples" / "data" / "cdnow" / "CDNOW_master.txt"
PURCHASES = 69_659
# Small batches at a modest pace: a run lasts long enough to be ended midway.
SLOW = {
    "INTILERY_DELIVERY": "batch",
    "INTILERY_MAX_BATCH_BYTES": "20000",
    "INTILERY_RATE_LIMIT": "40",
    "INTILERY_BURST": "1",
}


pytestmark = [pytest.mark.usefixtures("in_its_own_folder"), pytest.mark.sandbox(rate_limit=0)]


def start(sandbox: Sandbox, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "intilery", *arguments],
        env=environment(sandbox, **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(sandbox: Sandbox, *arguments: str, given: str = "", **more: str) -> tuple[int, str, str]:
    process = start(sandbox, *arguments, **more)
    out, err = process.communicate(given, timeout=120)
    return process.returncode, out, err


def wait_for(sandbox: Sandbox, events: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while sandbox.event_count() < events and process.poll() is None:
        assert time.monotonic() < until, f"only {sandbox.event_count()} events arrived"
        time.sleep(0.005)


def message_ids(sandbox: Sandbox) -> list[str]:
    return [event["rawData"]["messageId"] for event in sandbox.events()]


def documented_command() -> list[str]:
    """The command for CDNOW's file on the page about data, as the shell would split it."""
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    (command,) = [block.split("```")[0] for block in page.split("```sh\n") if "CDNOW" in block.split("```")[0]]
    split = subprocess.run(
        ["bash", "-c", f'intilery() {{ printf "%s\\0" "$@"; }}; {command}'],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return split.stdout.split("\0")[:-1]


def test_the_documented_command_sends_cdnows_own_file(sandbox: Sandbox) -> None:
    arguments = [str(ROOT / word) if word.startswith("examples/") else word for word in documented_command()]
    code, out, err = run(sandbox, *arguments, "--checkpoint", "c")
    assert (code, out.splitlines()[1].split()[0]) == (0, "69,659"), err
    events = [event["rawData"] for event in sandbox.events()]
    assert len({event["messageId"] for event in events}) == PURCHASES
    assert sum(event["properties"]["cds"] for event in events) == sum(
        int(line.split()[2]) for line in CDNOW.read_text().splitlines()[1:]
    )
    first = next(event for event in events if event["userId"] == "00001")
    assert (first["timestamp"], first["properties"]) == ("1997-01-01T00:00:00.000Z", {"cds": 1, "dollars": 11.77})


def test_a_run_that_is_killed_goes_on_and_every_row_arrives_under_one_id(sandbox: Sandbox) -> None:
    rows = 6_000
    Path("a.csv").write_text("user_id,n\n" + "".join(f"u{n % 700},{n}\n" for n in range(rows)) + ",5\nbroken\n")
    for kill_at in (1, 1_500, 3_000, 4_500):
        process = start(sandbox, "send", "a.csv", "--event", "Order", **SLOW)
        wait_for(sandbox, kill_at, process)
        process.kill()
        process.communicate()
    code, out, err = run(sandbox, "send", "a.csv", "--event", "Order", "--json")
    report = json.loads(out)
    assert code == 1, err
    assert (report["rows"], report["delivered"], report["rejected"]) == (rows + 2, rows, 2)
    assert report["resumed"] > 0
    events = [event["rawData"] for event in sandbox.events()]
    numbers = {event["messageId"]: event["properties"]["n"] for event in events}
    assert sorted(numbers.values()) == list(range(rows))
    assert len(Path("a.csv.rejects.ndjson").read_text().splitlines()) == 2


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_ends_soon_and_says_how_to_go_on(sandbox: Sandbox, by: signal.Signals, code: int) -> None:
    Path("a.csv").write_text("user_id,n\n" + "".join(f"u{n},{n}\n" for n in range(20_000)))
    process = start(sandbox, "send", "a.csv", "--event", "Order Completed", **SLOW)
    wait_for(sandbox, 100, process)
    started = time.monotonic()
    process.send_signal(by)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert time.monotonic() - started < 10
    assert err.splitlines()[-1] == "intilery send: interrupted"
    assert "To go on: " in out
    assert "send a.csv --event 'Order Completed'" in out
    assert "a.csv.checkpoint says where it was" in out
    code, out, _ = run(sandbox, "send", "a.csv", "--event", "Order Completed")
    assert code == 0
    assert "of them before this run" in out
    assert len(set(message_ids(sandbox))) == 20_000


def test_the_report_is_for_programs_where_that_is_asked(sandbox: Sandbox) -> None:
    code, out, err = run(sandbox, "send", "-", "--event", "E", "--json", given='{"user_id": "u", "n": 1}\n{"n": 2}\n')
    report = json.loads(out)
    assert (code, err) == (1, "")
    assert (report["rows"], report["delivered"], report["rejected"], report["exit_code"]) == (2, 1, 1, 1)
    assert report["rejects"] == "intilery-rejects.ndjson"
    code, out, _ = run(sandbox, "send", "nothing.csv", "--event", "E", "--json")
    assert (code, json.loads(out)["code"]) == (2, "not_found")


def test_standard_input_gives_the_same_ids_each_time(sandbox: Sandbox) -> None:
    for _ in range(2):
        assert run(sandbox, "send", "-", "--event", "E", "--format", "csv", given="user_id,n\nu,1\n")[0] == 0
    assert (len(message_ids(sandbox)), len(set(message_ids(sandbox)))) == (2, 1)


def test_a_dry_run_checks_every_row_and_sends_nothing(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id,n\nu1,1\n,2\n")
    code, out, _ = run(sandbox, "send", "a.csv", "--event", "E", "--dry-run")
    assert (code, sandbox.requests()) == (1, [])
    assert "a dry run, nothing was sent" in out
    assert "1 rejected" in out
    assert not Path("a.csv.checkpoint").exists()


def test_a_wrong_column_is_named_with_its_nearest_and_nothing_is_sent(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("customer,n\nu1,1\n")
    code, out, err = run(sandbox, "send", "a.csv", "--event", "E", "--user-id", "custommer")
    assert (code, out) == (2, "")
    assert "no column 'custommer'; did you mean \"customer\"?" in err
    assert sandbox.requests() == []


def test_a_refused_token_stops_the_run(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id\nu1\n")
    code, out, err = run(sandbox, "send", "a.csv", "--event", "E", INTILERY_AUTH_TOKEN="wrong")
    assert code == 3
    assert "the service refuses the token" in err
    assert "wrong" not in err + out
    assert "1 without a fate yet" in out
    assert run(sandbox, "send", "a.csv", "--event", "E")[0] == 0
    assert sandbox.event_count() == 1


def test_a_full_disk_stops_the_run_with_a_way_to_go_on(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id,n\n" + "".join(f"u{n},{n}\n" for n in range(10_000)))
    # A file may have 12 kB here: the checkpoint soon has more.
    limited = f"ulimit -f 12; exec {sys.executable} -m intilery send a.csv --event E"
    ended = subprocess.run(
        ["bash", "-c", limited],
        env=environment(sandbox, **SLOW),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert "the checkpoint 'a.csv.checkpoint' cannot be used" in ended.stderr
    assert "To go on: " in ended.stdout
    Path("a.csv.checkpoint").unlink(missing_ok=True)
    assert run(sandbox, "send", "a.csv", "--event", "E")[0] == 0
    assert len(set(message_ids(sandbox))) == 10_000


def test_progress_is_plain_lines_where_nobody_watches(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("user_id,n\n" + "".join(f"u{n},{n}\n" for n in range(10_000)))
    code, out, err = run(sandbox, "send", "a.csv", "--event", "E", **SLOW)
    assert code == 0
    assert "\x1b" not in out + err
    assert err.splitlines()[0].startswith("rows ")
    assert "of 10,000, delivered " in err
    assert " of 40, now " in err


def test_the_sandbox_and_the_version_need_no_typer(sandbox: Sandbox) -> None:
    program = (
        "import sys; sys.modules['typer'] = None; from intilery.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )

    def without(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=60)

    assert without("--version").stdout == f"{__version__}\n"
    assert "--port" in without("sandbox", "--help").stdout
    ended = without("send", "a.csv")
    assert (ended.returncode, ended.stderr.count("pip install 'intilery[cli]'")) == (2, 1)


def test_help_names_what_a_new_user_needs(sandbox: Sandbox) -> None:
    code, out, _ = run(sandbox, "send", "--help")
    assert code == 0
    for word in ("INTILERY_AUTH_TOKEN", "--user-id", "--timezone", "--rejects", "Exit codes", "--dry-run"):
        assert word in out
    assert run(sandbox, "--version")[1] == f"{__version__}\n"
    assert "send" in run(sandbox, "--help")[1]


def test_validate_checks_every_row_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("INTILERY_")]:
        monkeypatch.delenv(name)
    Path("a.csv").write_text("customer,n\nu1,1\n,2\nu3,3\n")
    Path("a.csv.rejects.ndjson").write_text("of a run that is to be gone on with")

    def validate(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "intilery", "validate", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return ended.returncode, ended.stdout, ended.stderr

    code, out, err = validate("a.csv", "--event", "E", "--user-id", "customer")
    assert (code, err) == (1, "")
    assert out.startswith("3 rows, in ")
    assert out.endswith("  2 valid\n  1 rejected: see a.csv.invalid.ndjson\n")
    assert json.loads(Path("a.csv.invalid.ndjson").read_text())["row"] == 2
    assert Path("a.csv.rejects.ndjson").read_text() == "of a run that is to be gone on with"
    assert validate("a.csv", "--event", "E", "--user-id", "customer", "--limit", "1")[0] == 0
    code, _, err = validate("a.csv", "--event", "E", "--user-id", "customer", "--on-invalid", "stop")
    assert (code, err.count("intilery validate: row 2: ")) == (3, 1)
    code, _, err = validate("a.csv", "--event", "E", "--user-id", "custommer")
    assert (code, err.count('did you mean "customer"?')) == (2, 1)
    code, out, _ = validate("a.csv", "--event", "E", "--user-id", "customer", "--json")
    report = json.loads(out)
    assert (code, report["rejected"], report["dry_run"], report["checkpoint"]) == (1, 1, True, None)


def test_a_mapping_says_everything_and_flags_go_over_it(sandbox: Sandbox) -> None:
    Path("a.csv").write_text("customer,n\nu1,1\n,2\nu3,3\n")
    Path("m.yaml").write_text(
        "event: E\nuser_id: customer\non_invalid: reject\nrejects: bad.ndjson\ncheckpoint: c.checkpoint\nlimit: 2\n"
    )
    code, out, err = run(sandbox, "send", "a.csv", "--mapping", "m.yaml")
    assert (code, out.splitlines()[1:3]) == (1, ["  1 delivered", "  1 rejected, 0 failed: see bad.ndjson"]), err
    assert Path("c.checkpoint").exists()
    assert not Path("a.csv.checkpoint").exists()
    code, out, err = run(sandbox, "send", "a.csv", "--mapping", "m.yaml", "--limit", "1", "--no-checkpoint")
    assert (code, out.splitlines()[1]) == (0, "  1 delivered"), err
    code, _, err = run(sandbox, "send", "a.csv", "--mapping", "m.yaml", "--on-invalid", "stop", "--no-checkpoint")
    assert (code, err.count("intilery send: row 2: ")) == (3, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evnt: E\n", "the mapping has no 'evnt'; did you mean \"event\"?"),
        ("chekpoint: c\n", 'did you mean "checkpoint"?'),
        ("event: [\n", "the mapping 'm.yaml' cannot be read: "),
        ("- event\n", "m.yaml must hold one mapping"),
        (None, "the mapping 'm.yaml' cannot be read: "),
    ],
)
def test_a_mapping_that_makes_no_sense_is_told_before_anything_is_sent(
    sandbox: Sandbox, text: str | None, message: str
) -> None:
    Path("a.csv").write_text("user_id\nu1\n")
    if text is not None:
        Path("m.yaml").write_text(text)
    code, out, err = run(sandbox, "send", "a.csv", "--event", "E", "--mapping", "m.yaml")
    assert (code, out) == (2, "")
    assert message in err
    assert sandbox.requests() == []


def test_completion_is_offered_for_each_shell_and_completes_commands(sandbox: Sandbox) -> None:
    environ = {
        **environment(sandbox),
        "_INTILERY_COMPLETE": "complete_bash",
        "COMP_WORDS": "intilery sp",
        "COMP_CWORD": "1",
    }
    intilery = Path(sys.executable).with_name("intilery")
    ended = subprocess.run([intilery], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["spool"]
    environ.update(COMP_WORDS="intilery validate --on-in", COMP_CWORD="2")
    ended = subprocess.run([intilery], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout.split() == ["--on-invalid"]
