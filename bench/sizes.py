"""How large what users install is: the wheel, and the npm package once it is installed, its dependencies included.

    python bench/sizes.py [--json]

Builds the wheel and installs the package as npm's users get it (compiled on the spot) in folders under build/bench.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from common import tell

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench/sizes"


def run(*command: str | Path) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-build-isolation",
    ]
    run(*pip, "-w", FOLDER, ROOT)
    package = run("npm", "pack", "--silent", "--pack-destination", FOLDER).strip()
    npm = ["npm", "install", "--prefix", FOLDER, "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    run(*npm, FOLDER / package)
    installed = [path for path in (FOLDER / "node_modules").rglob("*") if path.is_file() and not path.is_symlink()]
    result = {
        "wheel_bytes": next(FOLDER.glob("*.whl")).stat().st_size,
        "npm_packed_bytes": (FOLDER / package).stat().st_size,
        "npm_bytes": sum(path.stat().st_size for path in installed),
    }
    tell(result, given.json)


if __name__ == "__main__":
    main()
