"""The C++ library as it is installed: the Debian packages in dist/, and the static one of `make build`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = (ROOT / "core/include/intilery/version.hpp").read_text().split('"')[1]
SOVERSION = VERSION.rpartition(".")[0]
EXAMPLE = ROOT / "packaging/conan/test_package"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def deb(name: str) -> Path:
    (found,) = (ROOT / "dist").glob(f"{name}_{VERSION}_*.deb")
    return found


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of the packages, unpacked where they were never meant to be."""
    folder = tmp_path_factory.mktemp("debian")
    for name in (f"libintilery{SOVERSION}", "libintilery-dev"):
        run("dpkg-deb", "-x", deb(name), folder)
    return folder / "usr"


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of `make build`, moved to another place."""
    return Path(shutil.copytree(ROOT / "build/install", tmp_path_factory.mktemp("static") / "moved"))


@pytest.fixture(params=["debian", "static"])
def prefix(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def libraries(prefix: Path) -> Path:
    (found,) = prefix.glob("lib/**/pkgconfig")
    return found.parent


def exported(library: Path) -> set[str]:
    """What a shared library shows: demangled, without what is in brackets."""
    names = set()
    for line in run("nm", "-DC", "--defined-only", library).splitlines():
        name = re.sub(r"\[abi:\w+\]", "", line.split(" ", 2)[2])
        names.add(name.partition("(")[0])
    return names


def test_a_cmake_project_finds_it(prefix: Path, tmp_path: Path) -> None:
    run("cmake", "-S", EXAMPLE, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    assert run(tmp_path / "example") == f"{VERSION} 200\n"


def test_a_makefile_finds_it_by_pkg_config(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(
        "#include <intilery/intilery.hpp>\n#include <intilery/testing.hpp>\n#include <iostream>\n"
        "int main() {\n"
        "  intilery::testing::MemoryClient client;\n"
        '  std::cout << client.track("u", "Login").wait().status << client.sent_json();\n'
        "}\n"
    )
    (tmp_path / "Makefile").write_text(
        "CXXFLAGS = $(shell pkg-config --cflags intilery)\n"
        "LDLIBS = $(shell pkg-config --libs intilery)\nmain: main.cpp\n"
    )
    lib = libraries(prefix)
    run("make", "CXX=g++", cwd=tmp_path, PKG_CONFIG_PATH=str(lib / "pkgconfig"))
    said = run(tmp_path / "main", LD_LIBRARY_PATH=str(lib))
    assert said.startswith("200[") and json.loads(said[3:])[0]["event"] == "Login"
    assert run("pkg-config", "--modversion", "intilery", PKG_CONFIG_PATH=str(lib / "pkgconfig")) == f"{VERSION}\n"


def test_the_shared_libraries_show_their_api_and_nothing_else(debian: Path) -> None:
    lib = libraries(debian)
    shown = exported(lib / "libintilery.so") | exported(lib / "libintilery_testing.so")
    assert sorted(shown) == (Path(__file__).parent / "exports.txt").read_text().splitlines()


def test_the_shared_libraries_are_known_by_major_and_minor_version(debian: Path) -> None:
    lib = libraries(debian)
    for name in ("libintilery", "libintilery_testing"):
        assert f"[{name}.so.{SOVERSION}]" in run("readelf", "-d", lib / f"{name}.so")
        assert (lib / f"{name}.so").resolve().name == f"{name}.so.{VERSION}"


@pytest.mark.parametrize("file", ["intilery.pc", "intileryTargets-release.cmake", "intileryTargets.cmake"])
def test_what_finds_it_names_no_path_of_the_machine_that_built_it(prefix: Path, file: str) -> None:
    (found,) = prefix.glob(f"lib/**/{file}")
    assert str(ROOT) not in found.read_text()


def test_a_program_that_links_the_shared_library_needs_no_library_of_its_inside(debian: Path) -> None:
    said = run("pkg-config", "--libs", "intilery", PKG_CONFIG_PATH=str(libraries(debian) / "pkgconfig"))
    assert [word for word in said.split() if word.startswith("-l")] == ["-lintilery"]


def test_the_debian_packages_say_what_they_need(debian: Path) -> None:
    runtime, development = deb(f"libintilery{SOVERSION}"), deb("libintilery-dev")
    needs = run("dpkg-deb", "-f", runtime, "Depends")
    for package in (
        "libc6",
        "libcurl4",
        "libhiredis",
        "libre2",
        "libsimdjson",
        "libsqlite3-0",
        "libstdc++6",
        "libyaml-0",
    ):
        assert package in needs
    assert f"libintilery{SOVERSION} (= {VERSION})" in run("dpkg-deb", "-f", development, "Depends")
    assert "nlohmann-json3-dev" in run("dpkg-deb", "-f", development, "Depends")
    assert f"libintilery {SOVERSION} libintilery{SOVERSION} (>= {VERSION})" in run("dpkg-deb", "-I", runtime, "shlibs")


def test_the_debian_packages_carry_licence_and_notices(debian: Path) -> None:
    for name in (f"libintilery{SOVERSION}", "libintilery-dev"):
        assert "MIT License" in (debian / "share/doc" / name / "copyright").read_text()
        assert "libcurl" in (debian / "share/doc" / name / "NOTICE.md").read_text()


def test_the_sandbox_of_the_development_package_runs(debian: Path) -> None:
    assert "--port" in run(debian / "bin/intilery-sandbox", "--help")


def test_conan_makes_a_package_that_its_test_program_uses(tmp_path: Path) -> None:
    """The libraries beneath come from the system: no Conan server is asked."""
    modules = {name: name for name in ("libcurl", "nlohmann_json", "simdjson", "sqlite3", "hiredis", "cpp-httplib")}
    modules["libyaml"] = "yaml-0.1"
    found = {name: run("pkg-config", "--modversion", module).strip() for name, module in modules.items()}
    found |= {"re2": "20220601", "cli11": "2.1.2"}  # whose packages tell pkg-config another number, or none
    conan = ROOT / "build/packages/conan/bin/conan"
    home = str(tmp_path / "home")
    run(conan, "profile", "detect", "--name", "detected", CONAN_HOME=home)
    profile = tmp_path / "system"
    profile.write_text(
        "include(detected)\n[settings]\ncompiler.cppstd=20\n[conf]\ntools.gnu:pkg_config=pkg-config\n"
        "tools.cmake.cmaketoolchain:generator=Ninja\ntools.cmake.cmaketoolchain:user_presets=\n"
        f"tools.cmake.cmake_layout:test_folder={tmp_path}\n"
        "[platform_tool_requires]\ncmake/3.25.1\n[platform_requires]\n"
        + "".join(f"{name}/{version}\n" for name, version in found.items())
    )
    said = run(
        *(conan, "create", ROOT / "packaging/conan", "-o", "&:shared=True", "--no-remote"),
        *("-pr:h", profile, "-pr:b", profile),
        CONAN_HOME=home,
    )
    assert f"\n{VERSION} 200\n" in said


def test_the_vcpkg_port_names_what_the_build_looks_for() -> None:
    port = ROOT / "packaging/vcpkg/intilery"
    manifest = json.loads((port / "vcpkg.json").read_text())
    names = {entry if isinstance(entry, str) else entry["name"] for entry in manifest["dependencies"]}
    assert {"curl", "hiredis", "libyaml", "nlohmann-json", "re2", "simdjson", "sqlite3", "vcpkg-cmake"} <= names
    for file in re.findall(r'\$\{SOURCE_PATH\}/([\w.]+)"', (port / "portfile.cmake").read_text()):
        assert (ROOT / file).is_file()
