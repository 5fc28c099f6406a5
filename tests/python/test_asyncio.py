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


def test_drained_waits_until_no_event_is_without_a_fate_without_a_thread(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})

    async def main() -> None:
        async with sandbox.async_client() as client:
            await client.drained()  # nothing waits
            delivery = client.track("u", "E")
            threads = threading.active_count()
            waits = [asyncio.ensure_future(client.drained()) for _ in range(20)]
            cancelled = asyncio.ensure_future(client.drained())
            await asyncio.sleep(0)
            cancelled.cancel()
            assert threading.active_count() == threads
            assert not any(wait.done() for wait in waits)
            await asyncio.gather(*waits)
            assert delivery.done()
            for _ in range(20):
                client.track("u", "E")
                await client.drained()
                assert client.stats().queued == 0
            late = client.track("u", "E")
            waiting = asyncio.ensure_future(client.drained())
            await asyncio.sleep(0)
        await waiting  # closing gives every event its fate
        assert late.done()

    asyncio.run(main())
    assert sandbox.event_count() == 22


def test_flush_and_close_use_no_thread_when_nothing_waits(sandbox: Sandbox) -> None:
    async def main() -> list[str]:
        told: list[str] = []
        client = sandbox.async_client()
        assert await client.flush() == (0, 0, 0)
        client.track("u", "E", on_delivery=lambda _: told.append("delivered"))
        await client.drained()

        def refuse(*_: object) -> None:
            raise AssertionError("a thread was used")

        asyncio.get_running_loop().run_in_executor = refuse  # type: ignore[method-assign, assignment]
        assert await client.flush() == (0, 0, 0)
        assert await client.close() == (0, 0, 0)
        return told

    assert asyncio.run(main()) == ["delivered"]


def test_a_cancelled_flush_loses_nothing(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 200, "times": 1})

    async def main() -> None:
        async with sandbox.async_client() as client:
            client.track("u", "E")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.flush(), 0.05)

    asyncio.run(main())
    assert sandbox.event_count() == 1
