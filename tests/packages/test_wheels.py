"""The wheels in dist/, as users install them: in clean environments of each Python, and on other distributions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build/packages/python"
VERSION = (ROOT / "core/include/intilery/version.hpp").read_text().split('"')[1]
PYTHONS = os.environ.get("INTILERY_WHEELS", "3.9 3.10 3.11 3.12 3.13").split()
C_LIBRARY = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "linux-vdso.so.1"}


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, timeout: float = 300) -> str:
    ended = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def wheel(python: str) -> Path:
    (found,) = (ROOT / "dist").glob(f"intilery-{VERSION}-cp{python.replace('.', '')}-*.whl")
    return found


def readme_example() -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


# Its flush counts what was still on the way.
README_PRINTS = r"200\nFlush\(delivered=[123], failed=0, remaining=0\)\n"


@pytest.fixture(params=PYTHONS, scope="module")
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def modules(python: str, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(wheel(python)).extractall(folder)
    found = sorted(folder.rglob("*.so"))
    assert [path.name.split(".")[0] for path in found] == ["_native", "_sandbox"]
    return found


@pytest.fixture(scope="module")
def installed(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    run(BUILT / python / "bin/python", "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "--no-index", wheel(python), env={"PATH": str(folder / "bin")})
    return folder / "bin/python"


def alone(python: Path) -> dict[str, str]:
    """An environment without compiler, home and other people's settings."""
    return {"PATH": str(python.parent)}


def test_a_module_needs_the_c_library_only(modules: list[Path]) -> None:
    for module in modules:
        libraries = {Path(line.split()[0]).name for line in run("ldd", module).splitlines()}
        assert {name for name in libraries if not name.startswith("ld-linux")} <= C_LIBRARY


def test_a_module_shows_its_entry_and_no_name_of_what_is_inside(modules: list[Path]) -> None:
    for module in modules:
        shown = [line.split()[-1] for line in run("nm", "-D", "--defined-only", module).splitlines()]
        assert shown == [f"PyInit_{module.name.split('.')[0]}"]


def test_the_wheels_name_says_the_oldest_glibc_that_it_runs_on(python: str, modules: list[Path]) -> None:
    asked = {
        (int(major), int(minor))
        for module in modules
        for major, minor in re.findall(r"\(GLIBC_(\d+)\.(\d+)", run("objdump", "-T", module))
    }
    named = {(int(a), int(b)) for a, b in re.findall(r"manylinux_(\d+)_(\d+)_", wheel(python).name)}
    assert max(asked) <= min(named) <= (2, 31), sorted(asked)[-3:]


def test_a_wheel_is_small_and_has_its_licence_and_all_notices(python: str) -> None:
    assert wheel(python).stat().st_size < 6_000_000
    names = zipfile.ZipFile(wheel(python)).namelist()
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    inside = ["openssl", "nghttp2", "curl", "simdjson", "re2", "libyaml", "hiredis", "sqlite3", "nlohmann-json3"]
    inside += ["cpp-httplib", "cli11", "pybind11", "preact", "uplot"]
    assert licences >= {"LICENSE", "NOTICE.md", "inside/versions", *(f"inside/{name}" for name in inside)}


def test_the_readme_example_runs_in_a_clean_environment(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(readme_example())
    printed = run(installed, "example.py", cwd=tmp_path, env=alone(installed))
    assert re.fullmatch(README_PRINTS, printed), printed


def test_the_version_is_the_one_number(installed: Path, tmp_path: Path) -> None:
    program = "import intilery, importlib.metadata as m; print(intilery.__version__, m.version('intilery'))"
    assert run(installed, "-c", program, cwd=tmp_path, env=alone(installed)).split() == [VERSION, VERSION]


def test_the_libraries_inside_do_not_mix_with_pythons_own(installed: Path, tmp_path: Path) -> None:
    """Python's ssl and sqlite3 bring other versions of OpenSSL and SQLite into the same process."""
    program = f"""
import sqlite3, ssl, tempfile
before = ssl.OPENSSL_VERSION, sqlite3.sqlite_version
{readme_example()}
ssl.create_default_context()
folder = tempfile.mkdtemp()
with Sandbox() as sandbox, Client(**account, endpoint=sandbox.url, spool_path=folder) as client:
    assert sqlite3.connect(":memory:").execute("select sqlite_version()").fetchone()[0] == before[1]
    print(client.track("u", "Kept").result(timeout=10).status)
"""
    printed = run(installed, "-c", program, cwd=tmp_path, env=alone(installed))
    assert printed.splitlines()[-1] == "200"


@pytest.fixture(scope="module")
def tested(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and what the project's own tests need."""
    folder = tmp_path_factory.mktemp("tested")
    run(BUILT / python / "bin/python", "-m", "venv", folder)
    packages = ["pytest>=8", "hypothesis", "numpy", "pandas"]
    run(folder / "bin/python", "-m", "pip", "install", "-q", f"{wheel(python)}[data]", *packages, timeout=600)
    return folder / "bin/python"


def test_the_projects_tests_pass_on_the_installed_wheel(tested: Path) -> None:
    names = ("client", "values", "vectors", "asyncio", "spool", "options")
    files = [f"tests/python/test_{name}.py" for name in names]
    ended = run(tested, "-m", "pytest", "-p", "no:cacheprovider", *files, timeout=1200)
    assert re.search(r"\d+ passed", ended), ended


class Distribution:
    """The root of another Debian, with its Python and without compiler and libcurl."""

    def __init__(self, suite: str) -> None:
        self.root = Path(run(ROOT / "packaging/other-distribution", suite, timeout=900).strip())
        self.home = self.root / "home/wheels"
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.python = ".".join(self("python3", "-V").split()[1].split(".")[:2])
        shutil.copy(wheel(self.python), self.home)
        self("python3", "-m", "venv", "/home/wheels/venv")
        self(
            "/home/wheels/venv/bin/python",
            "-m",
            "pip",
            "install",
            "--no-index",
            f"/home/wheels/{wheel(self.python).name}",
        )

    def __call__(self, *command: str, **environment: str) -> str:
        """What the command prints, run in that root with processes of its own."""
        inside = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", f"--root={self.root}", *command]
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*inside, cwd=Path("/"), env={"PATH": path, "LANG": "C.UTF-8", "HOME": "/home/wheels", **environment})

    def program(self, text: str, *arguments: str, **environment: str) -> str:
        (self.home / "program.py").write_text(text)
        return self("/home/wheels/venv/bin/python", "/home/wheels/program.py", *arguments, **environment)


@pytest.fixture(params=["bullseye", "trixie"], scope="module")
def distribution(request: pytest.FixtureRequest) -> Distribution:
    return Distribution(request.param)


def test_the_readme_example_runs_on_another_distribution(distribution: Distribution) -> None:
    for absent in ("usr/bin/gcc", "usr/bin/cc", "usr/bin/c++", "usr/bin/curl"):
        assert not (distribution.root / absent).exists()
    assert not list(distribution.root.glob("usr/lib/*/libcurl*"))
    printed = distribution.program(readme_example())
    assert re.fullmatch(README_PRINTS, printed), printed


@pytest.fixture(scope="module")
def tls(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A sandbox behind TLS, on the loopback of this machine: its URL, and its certificate authority's file."""
    program = BUILT / distribution.python / "bin/python"
    environment = tmp_path_factory.mktemp("server")
    run(program, "-m", "venv", environment)
    python = environment / "bin/python"
    run(python, "-m", "pip", "install", "-q", "--no-index", wheel(distribution.python))
    with subprocess.Popen(
        [python, "-m", "intilery", "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as sandbox:
        assert sandbox.stdout is not None
        port = sandbox.stdout.readline().strip().rpartition(":")[2].strip("/")
        with subprocess.Popen(
            [sys.executable, ROOT / "tests/tls_server.py", "tls", port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())
            server.communicate()
        sandbox.terminate()


SEND = """
import sys
from intilery import Client
account = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA", "auth_token": "sandbox-token"}
with Client(**account, endpoint=sys.argv[1], delivery_timeout=5, exit_timeout=0) as client:
    try:
        print(client.track("u", "Seen").result(timeout=30).status)
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def trusting(distribution: Distribution, tls: dict[str, str]) -> Iterator[Path]:
    """The file in which the distribution keeps what it trusts, with the server's authority in it for one test."""
    own = distribution.root / "usr/local/share/ca-certificates/test.crt"
    shutil.copy(tls["ca_file"], own)
    distribution("update-ca-certificates")
    yield distribution.root / "etc/ssl/certs/ca-certificates.crt"
    own.unlink()
    distribution("update-ca-certificates", "--fresh")


def test_a_server_of_an_unknown_authority_is_refused(distribution: Distribution, tls: dict[str, str]) -> None:
    assert "certificate" in distribution.program(SEND, tls["url"])


def test_tls_trusts_what_the_distribution_trusts(
    distribution: Distribution, tls: dict[str, str], trusting: Path
) -> None:
    assert trusting.exists()
    assert distribution.program(SEND, tls["url"]) == "200\n"


def test_certificates_are_found_where_other_distributions_keep_them(
    distribution: Distribution, tls: dict[str, str], trusting: Path
) -> None:
    for place in ("etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/ssl/ca-bundle.pem"):  # Fedora, SUSE
        elsewhere = distribution.root / place
        elsewhere.parent.mkdir(parents=True, exist_ok=True)
        trusting.rename(elsewhere)
        try:
            assert distribution.program(SEND, tls["url"]) == "200\n", place
        finally:
            elsewhere.rename(trusting)


def test_ssl_cert_file_names_other_certificates(distribution: Distribution, tls: dict[str, str]) -> None:
    shutil.copy(tls["ca_file"], distribution.home / "ca.pem")
    assert distribution.program(SEND, tls["url"], SSL_CERT_FILE="/home/wheels/ca.pem") == "200\n"


def test_the_source_distribution_builds_in_a_clean_environment(tmp_path: Path) -> None:
    """With the distribution's own libraries, as `pip install intilery` does where no wheel fits."""
    (source,) = (ROOT / "dist").glob(f"intilery-{VERSION}.tar.gz")
    run(BUILT / "3.11/bin/python", "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    environment = {**os.environ, "CCACHE_BASEDIR": str(tmp_path.parents[2])}
    run(python, "-m", "pip", "install", "-q", source, env=environment, timeout=3000)
    (tmp_path / "example.py").write_text(readme_example())
    printed = run(python, "example.py", cwd=tmp_path, env=alone(python))
    assert re.fullmatch(README_PRINTS, printed), printed
