"""What the programs here have in common: the event, a client for it, and how they tell what they measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from intilery import Client

#: The event of all measurements: an object of 470 bytes as JSON, nested.
ORDER: dict[str, Any] = json.loads(Path(__file__).with_name("payload.json").read_text())


def client(url: str, **options: Any) -> Client:
    """A client that nothing slows but the machine."""
    given: dict[str, Any] = {"delivery": "batch", "rate_limit": 100_000, "max_queue_bytes": 4_000_000_000, **options}
    return Client(client_id="hea", account_id="hea", brand_id="HEA", auth_token="sandbox-token", endpoint=url, **given)


def tell(result: dict[str, Any], as_json: bool) -> None:
    """One line of JSON, or one for each figure."""
    if as_json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:32} {value:>16,.2f}" if isinstance(value, (int, float)) else f"{name:32} {value}")
