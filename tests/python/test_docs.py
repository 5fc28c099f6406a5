"""The documentation is part of the product: its snippets run, and its tables are complete."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import environment

from intilery.testing import Sandbox

ROOT = Path(__file__).parents[2]


def snippets(language: str, page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def snippet(language: str, page: str = "README.md") -> str:
    (found,) = snippets(language, page)
    return found


def run(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def run_python(program: str, cwd: Path) -> tuple[str, str]:
    """Its standard output and error."""
    (cwd / "example.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, "example.py"], cwd=cwd, capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout, ended.stderr


def run_node(program: str, cwd: Path, kind: str = "mjs") -> str:
    (cwd / f"example.{kind}").write_text(program)
    (cwd / "node_modules").mkdir(exist_ok=True)
    (cwd / "node_modules" / "intilery").symlink_to(ROOT)
    (cwd / "node_modules" / "pino").symlink_to(ROOT / "node_modules" / "pino")
    return run("node", f"example.{kind}", cwd=cwd)


def run_cpp(program: str, cwd: Path, build: str = "") -> str:
    (cwd / "main.cpp").write_text(program)
    (cwd / "CMakeLists.txt").write_text(build or snippet("cmake"))
    run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={ROOT / 'build' / 'install'}", cwd=cwd)
    run("cmake", "--build", "build", cwd=cwd)
    return run(cwd / "build" / "example", cwd=cwd)


def test_the_python_snippet_runs(tmp_path: Path) -> None:
    out, _ = run_python(snippet("python"), tmp_path)
    assert out.startswith("200\nFlush(")


@pytest.mark.parametrize("kind", ["mjs", "cjs"])
def test_the_node_snippet_runs_in_a_project_of_its_own(tmp_path: Path, kind: str) -> None:
    program = snippet("js")
    if kind == "cjs":
        program = re.sub(r"import (.*) from ('.*?')", r"const \1 = require(\2)", program)
        program = f"(async () => {{\n{program}\n}})()"
    assert run_node(program, tmp_path, kind) == "200\n"


def test_the_cpp_snippet_runs_in_a_project_of_its_own(tmp_path: Path) -> None:
    assert run_cpp(snippet("cpp"), tmp_path) == "200\n"


@pytest.mark.parametrize("page", ["index", "python", "node", "cpp"])
def test_the_first_pages_run_by_copying_alone(tmp_path: Path, page: str) -> None:
    name = f"docs/{page}.md"
    outputs: list[str] = []
    for number, program in enumerate(snippets("python", name)):
        (folder := tmp_path / f"python-{number}").mkdir()
        out, errors = run_python(program, folder)
        assert errors == ""
        outputs.append(out)
    for number, program in enumerate(snippets("js", name)):
        (folder := tmp_path / f"node-{number}").mkdir()
        outputs.append(run_node(program, folder))
    for program in snippets("cpp", name):
        outputs.append(run_cpp(program, tmp_path, snippet("cmake", "docs/index.md")))
    wanted = {
        "index": [snippet("text", "docs/index.md"), "found: 2", "1 of 1 arrived\n"],
        "python": ["200 True\nnot_finite properties.revenue\n", "200\n"],
        "node": ["200 1\nnot_finite properties.revenue\n"],
        "cpp": ["200 1\nrequired userId\n"],
    }[page]
    assert len(outputs) == len(wanted)
    for out, part in zip(outputs, wanted):
        assert part in out


def test_the_pieces_on_guests_do_what_they_say(tmp_path: Path) -> None:
    page = "docs/guests.md"
    app, terminate = snippets("python", page)
    before = (
        "import os\nfrom intilery.testing import Sandbox\n"
        "sandbox = Sandbox()\nos.environ.update(sandbox.environment())\n"
    )
    after = "app({'PATH_INFO': '/cart'}, None)\nclient.flush()\nprint(sandbox.event_count())\n"
    assert run_python(before + app + after, tmp_path) == ("1\n", "")
    program = f"import os, signal, sys\n{terminate}os.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()\n"
    assert run_python(program, tmp_path) == ("", "")

    server, cluster, handler, wait_until = snippets("js", page)
    start = (
        "import { Client } from 'intilery'\nimport { Sandbox } from 'intilery/testing'\n"
        "const sandbox = await Sandbox.start()\n"
    )
    own = start + "const client = sandbox.client()\n"
    programs = {
        f"import http from 'node:http'\n{own}const server = http.createServer().listen(0, '127.0.0.1')\n{server}"
        "process.on('exit', () => console.log(sandbox.eventCount()))\n"
        "client.track({ userId: 'u', event: 'E' })\n"
        "server.once('listening', () => process.kill(process.pid, 'SIGTERM'))\n": "1\n",
        f"import cluster from 'node:cluster'\nif (cluster.isPrimary) {{\n{cluster}"
        "  cluster.fork().once('message', () => process.kill(process.pid, 'SIGTERM'))\n"
        "  cluster.once('exit', (worker, code) => console.log(code))\n"
        "} else {\n  process.once('SIGTERM', () => process.exit(7))\n  process.send('ready')\n}\n": "7\n",
        f"{own}const response = 'done'\n{handler}console.log(await handler(), sandbox.eventCount())\n"
        "await client.close()\nawait sandbox.stop()\n": "done 1\n",
        f"{start}Object.assign(process.env, sandbox.environment())\nglobalThis.handed = []\n"
        + wait_until
        + "client.track({ userId: 'u', event: 'E' })\nawait Promise.all(globalThis.handed)\n"
        "console.log(globalThis.handed.length, sandbox.eventCount())\n"
        "await client.close()\nawait sandbox.stop()\n": "1 1\n",
    }
    for number, (program, out) in enumerate(programs.items()):
        (folder := tmp_path / str(number)).mkdir()
        functions = folder / "node_modules" / "@vercel" / "functions"  # of the platform
        functions.mkdir(parents=True)
        (functions / "index.js").write_text("exports.waitUntil = (promise) => globalThis.handed.push(promise)")
        assert run_node(program, folder) == out


def test_the_snippets_on_privacy_scrub_and_drop(tmp_path: Path) -> None:
    page = "docs/privacy.md"
    out, _ = run_python(snippet("python", page), tmp_path)
    assert out == "[{'text': 'Write to (email)!'}] {'before_send': 1}\n"
    assert run_node(snippet("js", page), tmp_path) == "[ { text: 'Write to (email)!' } ] { before_send: 1 }\n"
    assert run_cpp(snippet("cpp", page), tmp_path) == '{"text":"Write to (email)!"} {"before_send":1}\n'


def test_the_snippets_on_data_send_reject_and_prove(tmp_path: Path) -> None:
    sending, proving = snippets("python", "docs/data.md")
    found, _ = run_python(proving, tmp_path)
    assert re.fullmatch(r"False 2 \[\(3, '[0-9a-f-]{36}'\)\]\n", found), found
    out, _ = run_python(sending, tmp_path)
    lines = out.splitlines()
    assert lines[:2] == ["2 1 1", "2024-07-05T11:00:00.000Z {'total': 77.0}"]
    node = run_node(snippet("js", "docs/data.md"), tmp_path).splitlines()
    assert (node[0], node[-2:]) == ("2 1 1", ["2 required", "1"])
    assert json.loads(node[1])["values"] == {"total": 12.5}
    (line,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "docs" / "data.md").read_text(), re.MULTILINE | re.DOTALL)
    assert json.loads(line) == json.loads(lines[2])


def test_the_snippets_on_testing_are_tests_that_pass(tmp_path: Path) -> None:
    page = "docs/testing.md"
    (tmp_path / "test_checkout.py").write_text(snippet("python", page))
    assert "4 passed" in run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "# pass 2" in run_node(snippet("js", page), tmp_path).replace("\u2139", "#")
    assert "[  PASSED  ] 2 tests." in run_cpp(snippet("cpp", page), tmp_path, snippet("cmake", page))


def test_the_snippets_on_migration_send(tmp_path: Path) -> None:
    page = "docs/migration.md"
    compat, after = snippets("python", page)
    assert run_python(compat, tmp_path) == ("['identify', 'track']\n", "")
    (line, errors) = run_python(after, tmp_path)
    assert (sorted(re.findall("[a-z]+", line)), errors) == (["identify", "page", "track"], "")
    for number, program in enumerate(snippets("js", page)):
        (folder := tmp_path / str(number)).mkdir()
        wanted = ["identify", "track"] if number == 0 else ["identify", "page", "track"]
        assert sorted(re.findall("[a-z]+", run_node(program, folder))) == wanted


def test_the_snippets_on_logging_log(tmp_path: Path) -> None:
    page = "docs/logging.md"
    structured, observed = snippets("python", page)
    _, line = run_python(structured, tmp_path)
    written = json.loads(line)
    assert (written["level"], written["logger"]) == ("warning", "intilery")
    assert "not delivered (rejected)" in written["event"]
    assert run_python(observed, tmp_path) == ("login-1 rejected\n", "")
    written = json.loads(run_node(snippet("js", page), tmp_path))
    assert written["level"] == 40
    assert "1 event failed (rejected)" in written["msg"]
    assert "not delivered (rejected)" in run_cpp(snippet("cpp", page), tmp_path)


def test_the_commands_on_reading_show_what_is_there() -> None:
    listing, tail, by_user, by_email = snippet("sh", "docs/reading.md").splitlines()
    with Sandbox() as sandbox, sandbox.client() as client:
        client.identify("ABC/123", {"email": "fred@example.com"})
        client.track("ABC/123", "Order Completed", {"revenue": 30.5}, message_id="m-1")
        client.flush(timeout=10)
        environ = environment(sandbox, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        for command in (listing, by_user, by_email):
            ended = subprocess.run(command, shell=True, env=environ, capture_output=True, text=True, check=True)
            assert ("m-1" if command == listing else "fred@example.com") in ended.stdout
        program = subprocess.Popen(shlex.split(tail), env=environ, stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        assert "Order Completed" in program.stdout.readline() + program.stdout.readline()
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)
        assert program.returncode == 0


def test_the_last_command_on_proof_is_one_run_of_the_campaign() -> None:  # the others take many minutes
    command = snippet("sh", "docs/proof.md").splitlines()[-1].split("#")[0]
    run(sys.executable, *shlex.split(command)[1:], cwd=ROOT)


def test_the_snippets_on_reading_read(tmp_path: Path) -> None:
    page = "docs/reading.md"
    out, _ = run_python(snippet("python", page), tmp_path)
    assert out.splitlines() == [
        "2024-07-05 00:00:00+00:00 Order Completed {'revenue': 30.5}",
        "ABC/123 {'email': 'fred@example.com'}",
        "['identify', 'Order Completed']",
    ]
    assert run_node(snippet("js", page), tmp_path).splitlines() == [
        "Order Completed { revenue: 30.5 }",
        "ABC/123 { email: 'fred@example.com' }",
        "2",
    ]
    assert run_cpp(snippet("cpp", page), tmp_path).splitlines() == [
        'Order Completed {"revenue":30.5}',
        '{"email":"fred@example.com"}',
    ]


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="needs pkg-config")
def test_the_cpp_library_is_found_by_pkg_config(tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text((ROOT / "examples" / "cpp" / "main.cpp").read_text())
    (config,) = (ROOT / "build" / "install").rglob("intilery.pc")
    flags = run("pkg-config", "--cflags", "--libs", config, cwd=tmp_path).split()
    run("c++", "main.cpp", "-o", "example", *flags, cwd=tmp_path)
    ended = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.split()[0]) == (1, "client_id")


def test_the_frameworks_page_shows_the_examples_that_are_tested() -> None:
    page = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    shown = dict(
        re.findall(r"\]\(\.\./examples/frameworks/(\S+)\)\n\n```\w+\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    )
    files = (ROOT / "examples" / "frameworks").glob("*.*")
    assert shown == {file.name: file.read_text(encoding="utf-8") for file in files}


def test_the_options_page_is_the_cores_list() -> None:
    page = run(sys.executable, "packaging/options_table.py", cwd=ROOT)
    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == page


def test_the_faults_page_is_the_matrix_that_the_tests_run() -> None:
    page = run(sys.executable, "packaging/faults_table.py", cwd=ROOT)
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == page


def test_every_code_is_on_the_errors_page() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "core" / "src").rglob("*.cpp"))
    codes = set(re.findall(r"(?:BadValue\{|\.code = |refuse\(\"[a-z_]+\",)\s*\"([a-z_]+)\"", sources))
    codes |= set(re.findall(r"\.code = \"([a-z_]+)\"", sources))
    codes |= set(re.findall(r"fail\([^;]*?\"([a-z_]+)\",", sources))
    assert len(codes) > 20
    assert [code for code in codes if f"`{code}`" not in page] == []


def test_links_between_the_pages_hold() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)# ]+)\)", page.read_text(encoding="utf-8")):
            if link.startswith(("reference/node/", "cpp/")):
                continue  # made with the site; `make docs` checks these
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_command_line_page_is_what_the_commands_say() -> None:
    page = run(sys.executable, "packaging/command_table.py", cwd=ROOT)
    assert (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8") == page


def test_the_commands_on_the_command_line_page_run(tmp_path: Path) -> None:
    page = "docs/command-line.md"
    (tmp_path / "orders.csv").write_text("customer,ordered_at,total,internal_note\nu1,2024-07-05 12:00:00,77.00,x\n")
    (tmp_path / "mapping.yaml").write_text(snippet("yaml", page))
    with Sandbox() as sandbox:
        sandbox.set_faults({"status": 400})
        with sandbox.client(spool_path=str(tmp_path / "shop")) as client:
            client.track("u", "E")
        commands = "\n".join([*snippets("sh", page), "intilery validate orders.csv --mapping mapping.yaml"])
        environ = environment(sandbox, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        ended = subprocess.run(
            ["bash", "-ec", commands.replace("/var/spool/shop", str(tmp_path / "shop"))],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("1 valid") == 2
    assert "1 dead letter," in ended.stdout
    assert len((tmp_path / "rejected.ndjson").read_text().splitlines()) == 1
