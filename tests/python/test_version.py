"""There is one version number, and what must repeat it says the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import intilery

ROOT = Path(__file__).parents[2]


def test_every_package_has_the_version_of_the_core_and_the_changes_say_which_it_is() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "packaging/release_check.py", "--versions"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_python_package_says_the_version_of_the_core() -> None:
    header = (ROOT / "core/include/intilery/version.hpp").read_text()
    assert f'"{intilery.__version__}"' in header
