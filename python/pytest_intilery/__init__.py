"""The fixtures that pytest finds where `intilery` is installed.

Apart from the package, so that a test run that asks for none of them does not load it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from intilery import Client
    from intilery.testing import MemoryClient, Sandbox


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "intilery_sandbox(**options): how the test's intilery_sandbox is set up.")


@pytest.fixture
def intilery_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox of this test's own, without a rate limit. `@pytest.mark.intilery_sandbox(...)` sets its options."""
    from intilery.testing import Sandbox

    marker = request.node.get_closest_marker("intilery_sandbox")
    with Sandbox(**{"rate_limit": 0, **(marker.kwargs if marker else {})}) as sandbox:
        yield sandbox


@pytest.fixture
def intilery_environment(intilery_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment, changed for this test so that `Client.from_env()` reaches its sandbox, here and in programs that
    the test starts. Returns the variables."""
    variables = intilery_sandbox.environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def intilery_client(intilery_sandbox: Sandbox) -> Iterator[Client]:
    """A client of this test's sandbox."""
    client = intilery_sandbox.client()
    yield client
    client.close(timeout=1)  # a test may have left a fault that nothing gets past


@pytest.fixture
def intilery_memory_client() -> Iterator[MemoryClient]:
    """A client whose events end in a list."""
    from intilery.testing import MemoryClient

    client = MemoryClient()
    yield client
    client.close(timeout=1)
