"""What a type checker says of a user's code."""

from __future__ import annotations

from pathlib import Path

from mypy import api

GOOD = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Any
from intilery import AsyncClient, Client, IntileryError, Receipt
from intilery.compat import segment as analytics
from intilery.testing import Sandbox

@dataclass
class Order:
    revenue: float

def told(receipt: Receipt) -> None: ...
def failed(error: IntileryError) -> None: print(error.message_id)
def scrub(message: dict[str, Any]) -> dict[str, Any] | None: return message if message.pop("x", None) else None

def main(client: Client, token: str) -> float:
    with Client(client_id="a", account_id="a", brand_id="B", auth_token=token, delivery="batch") as other:
        other.identify("u", {"email": "x"})
    Client(before_send=scrub, on_error=failed, dry_run=True, debug=True).close()
    client.track("u", "Order", Order(30.5))
    client.page(anonymous_id="a-1", properties={"path": "/"})
    view: Client = client.brand("HEB")
    view.track("u", "E")
    client.start_journey("u", "j", step_id="2", data={"plan": "gold"})
    client.send_many([{"user_id": "u"}], event="E", exclude=["x"], checkpoint=True).rejected.bit_length()
    analytics.write_key = "a/a/B:t"
    analytics.on_error = lambda error, batch: print(error.code, batch[0])
    analytics.Client("a/a/B:t", host=None, timeout=5).track(4711, "E", {"x": 1})[0].bit_length()
    return client.track("u", "E", {"x": 1}, on_delivery=told).result(timeout=1).latency

async def more(client: AsyncClient) -> int:
    receipt = await client.track("u", "E")
    return (await client.flush(timeout=1)).remaining + receipt.status
"""

BAD = """
from intilery import Client
from intilery.compat import segment as analytics

def main(client: Client) -> None:
    client.track("u")
    client.track(5, "E")
    client.track("u", "E", timestmp=1)
    Client(delivry="batch")
    Client(delivery="fast")
    client.track("u", "E").result("soon")
    client.flush().remaining.upper()
    Client(before_send="drop")
    Client(on_error=5)
    client.send_many("a.csv", userid="u")
    client.send_many(5)
    analytics.write_key = 5
    analytics.Client("k").track("u", "E", propertes={})
"""


def check(tmp_path: Path, code: str) -> list[str]:
    program = tmp_path / "program.py"
    program.write_text(code)
    out, err, _ = api.run(
        ["--strict", "--config-file=", "--no-error-summary", f"--cache-dir={tmp_path / 'cache'}", str(program)]
    )
    assert err == ""
    return out.splitlines()


def test_right_code_passes_and_each_mistake_is_found(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == []
    errors = [line for line in check(tmp_path, BAD) if " error: " in line]
    assert [int(line.split(":")[1]) for line in errors] == [6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
