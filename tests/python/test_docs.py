"""The documentation is part of the product: its snippets run, and its tables are complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippet(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def run(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_python_snippet_runs(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(snippet("python"))
    out = run(sys.executable, "example.py", cwd=tmp_path)
    assert out.startswith("200\nFlush(")


@pytest.mark.parametrize("kind", ["mjs", "cjs"])
def test_the_node_snippet_runs_in_a_project_of_its_own(tmp_path: Path, kind: str) -> None:
    program = snippet("js")
    if kind == "cjs":
        program = re.sub(r"import (.*) from ('.*?')", r"const \1 = require(\2)", program)
        program = f"(async () => {{\n{program}\n}})()"
    (tmp_path / f"example.{kind}").write_text(program)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "intilery").symlink_to(ROOT)
    assert run("node", f"example.{kind}", cwd=tmp_path) == "200\n"


def test_the_cpp_snippet_runs_in_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(snippet("cpp"))
    (tmp_path / "CMakeLists.txt").write_text(snippet("cmake"))
    run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={ROOT / 'build' / 'install'}", cwd=tmp_path)
    run("cmake", "--build", "build", cwd=tmp_path)
    assert run(tmp_path / "build" / "example", cwd=tmp_path) == "200\n"


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="needs pkg-config")
def test_the_cpp_library_is_found_by_pkg_config(tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text((ROOT / "examples" / "cpp" / "main.cpp").read_text())
    (config,) = (ROOT / "build" / "install").rglob("intilery.pc")
    flags = run("pkg-config", "--cflags", "--libs", config, cwd=tmp_path).split()
    run("c++", "main.cpp", "-o", "example", *flags, cwd=tmp_path)
    ended = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.split()[0]) == (1, "client_id")


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
    codes |= set(re.findall(r"fail\([^;]*?\"([a-z_]+)\",", sources))
    assert len(codes) > 20
    assert [code for code in codes if f"`{code}`" not in page] == []


def test_links_between_the_pages_hold() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)# ]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
