from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from intilery.testing import Sandbox

collect_ignore = [] if find_spec("pyspark") else ["test_spark.py"]  # PySpark has left Python 3.9


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """With the options of the test's mark `sandbox`."""
    mark = request.node.get_closest_marker("sandbox")
    with Sandbox(**(mark.kwargs if mark else {})) as running:
        yield running


@pytest.fixture
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
