"""What the programs here that measure a client share: the event, and a server in another process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ORDER: dict[str, Any] = json.loads((Path(__file__).parent / "payload.json").read_text())


@contextlib.contextmanager
def serving() -> Iterator[dict[str, Any]]:
    """A sandbox, as the options of a client that sends batches to it as fast as it can."""
    command = [sys.executable, "-m", "intilery", "sandbox", "--rate-limit", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ids = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA", "auth_token": "sandbox-token"}
        try:
            yield {
                **ids,
                "endpoint": server.stdout.readline().strip(),
                "delivery": "batch",
                "rate_limit": 100_000,
                "max_queue_bytes": 1_000_000_000,
            }
        finally:
            server.terminate()
