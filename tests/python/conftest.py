from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from intilery.testing import Sandbox

collect_ignore = [] if find_spec("pyspark") else ["test_spark.py"]  # PySpark has left Python 3.9


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running
