"""Whether what is in dist/ can be released. `--versions`: only whether all files say the same number."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
VERSION = (ROOT / "core/include/intilery/version.hpp").read_text().split('"')[1]
MAX_BYTES = 6_000_000


def output(*command: str | Path) -> str:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def versions() -> Iterator[str]:
    """The files that repeat the number of version.hpp, because their tools can read it nowhere else."""
    port = "packaging/vcpkg/intilery/vcpkg.json"
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    for file, found in {
        "package.json": json.loads((ROOT / "package.json").read_text())["version"],
        port: json.loads((ROOT / port).read_text())["version-semver"],
        "CHANGELOG.md": newest and newest[1],
    }.items():
        if found != VERSION:
            yield f"{file} says {found}, version.hpp {VERSION}"


def tree() -> Iterator[str]:
    if changed := output("git", "status", "--porcelain"):
        yield f"the checkout is not what was committed:\n{changed}"
    if "\n## Unreleased" in (ROOT / "CHANGELOG.md").read_text():
        yield "CHANGELOG.md has changes that belong to no version: name it there, and in version.hpp"


def names(package: Path) -> list[str]:
    if package.suffix == ".deb":
        return [line.split()[-1] for line in output("dpkg-deb", "-c", package).splitlines()]
    if package.suffix == ".whl":
        return zipfile.ZipFile(package).namelist()
    return tarfile.open(package).getnames()


def contents() -> Iterator[str]:
    """Each package is there, small, and has its licence and the notices of what others wrote."""
    soversion = VERSION.rpartition(".")[0]
    for pattern, count in {
        f"intilery-{VERSION}.tgz": 1,
        f"intilery-{VERSION}.tar.gz": 1,
        f"intilery-{VERSION}-*.whl": 5,
        f"libintilery{soversion}_{VERSION}_*.deb": 1,
        f"libintilery-dev_{VERSION}_*.deb": 1,
    }.items():
        if len(list(DIST.glob(pattern))) != count:
            yield f"dist/ should have {count} of {pattern}"
    for package in sorted(DIST.iterdir()):
        held = {Path(name).name for name in names(package)}
        if not held & {"LICENSE", "copyright"} or "NOTICE.md" not in held:
            yield f"{package.name} lacks its licence or notices"
        if package.stat().st_size > MAX_BYTES:
            yield f"{package.name} has {package.stat().st_size} bytes"


def twice() -> Iterator[str]:
    """The packages are built again, by the compiler and not from its cache, and must be the same to the byte."""

    def sums() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DIST.iterdir()}

    first = sums()
    for folder in ("node", "npm", "debian", "python/cp*"):
        for path in (ROOT / "build/packages").glob(folder):
            shutil.rmtree(path)
    subprocess.run(["make", "packages"], cwd=ROOT, env={**os.environ, "CCACHE_DISABLE": "1"}, check=True)
    for name, digest in sums().items():
        if first.get(name) != digest:
            yield f"{name} has other bytes when it is built again"


if __name__ == "__main__":
    checks = [versions] if "--versions" in sys.argv else [versions, tree, contents, twice]
    wrong = [line for check in checks for line in check()]
    sys.exit("\n".join(f"release-check: {line}" for line in wrong) or 0)
