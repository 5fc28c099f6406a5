from __future__ import annotations

import asyncio
import threading

import pytest

from intilery import DeliveryError
from intilery.testing import Sandbox


def test_deliveries_are_awaited(sandbox: Sandbox) -> None:
    async def main() -> None:
        async with sandbox.async_client() as client:
            receipt = await client.track("u", "Login")
            assert receipt.delivered
            client.track("u", "Viewed")  # not awaited
            receipts = await asyncio.gather(*(client.track("u", "E") for _ in range(50)))
            assert all(receipt.delivered for receipt in receipts)
            assert (await client.flush(timeout=5)).remaining == 0
            assert (await client.verify([receipt.message_id], "u")).complete

    asyncio.run(main())
    assert sandbox.event_count() == 52


def test_a_failure_is_raised_by_await(sandbox: Sandbox) -> None:
    sandbox.set_faults({"status": 400})

    async def main() -> None:
        async with sandbox.async_client() as client:
            with pytest.raises(DeliveryError):
                await client.track("u", "E")

    asyncio.run(main())


def test_the_event_loop_is_never_blocked(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 300})

    async def main() -> int:
        turns = 0
        async with sandbox.async_client() as client:
            client.track("u", "E")
            closing = asyncio.ensure_future(client.flush())
            while not closing.done():
                await asyncio.sleep(0.01)
                turns += 1
        return turns

    assert asyncio.run(main()) > 10


def test_callbacks_run_in_the_event_loop(sandbox: Sandbox) -> None:
    threads: list[threading.Thread] = []

    async def main() -> None:
        async with sandbox.async_client() as client:
            await client.track("u", "E", on_delivery=lambda _: threads.append(threading.current_thread()))

    asyncio.run(main())
    assert threads == [threading.main_thread()]


def test_a_cancelled_wait_does_not_cancel_the_delivery(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})

    async def main() -> None:
        async with sandbox.async_client() as client:
            delivery = client.track("u", "E")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(_receipt(delivery), 0.05)
            assert (await delivery).delivered

    async def _receipt(delivery: object) -> object:
        return await delivery  # type: ignore[misc]

    asyncio.run(main())


def test_a_sync_clients_delivery_can_be_awaited_too(sandbox: Sandbox) -> None:
    async def main() -> None:
        with sandbox.client() as client:
            assert (await client.track("u", "E")).delivered

    asyncio.run(main())
