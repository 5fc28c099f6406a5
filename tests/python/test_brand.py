"""`client.brand(…)`: one client, several brands."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from intilery import AsyncClient, ClosedError, ConfigurationError
from intilery.testing import Sandbox


@pytest.fixture
def brands() -> Iterator[Sandbox]:
    with Sandbox(brand_ids=["HEA", "HEB"], rate_limit=0) as running:
        yield running


def by_brand(sandbox: Sandbox) -> Counter[str]:
    return Counter(event["brandId"] for event in sandbox.events())


def test_a_view_sends_to_its_brand_and_shares_the_rest(brands: Sandbox) -> None:
    with brands.client() as client:
        heb = client.brand("HEB")
        assert type(heb) is type(client)
        heb.identify("u", {"city": "Bath"})
        heb.send({"action": "track", "userId": "u", "event": "Sent"})
        delivery = heb.track("u", "Viewed")
        client.track("u", "Login")
        assert heb.flush(10).delivered == 4
        assert client.stats().delivered == heb.stats().delivered == 4
        assert heb.verify([delivery], user_id="u").complete
        assert brands.requests()[-1].path.startswith("/track/hea/hea/HEB/v1/profiles/")
    assert by_brand(brands) == {"HEA": 1, "HEB": 3}


def test_leaving_or_dropping_a_view_closes_nothing(brands: Sandbox) -> None:
    with brands.client() as client:
        with client.brand("HEB") as heb:
            heb.track("u", "Viewed")
        for _ in range(1000):
            client.brand("HEB").track("u", "Viewed")
        del heb
        gc.collect()
        client.brand("HEB").brand("HEA").track("u", "Login").result(10)
    assert by_brand(brands) == {"HEA": 1, "HEB": 1001}


def test_a_view_keeps_its_client_and_closing_it_closes_the_whole(brands: Sandbox) -> None:
    client = brands.client()
    heb = client.brand("HEB")
    client.__dict__["heb"] = heb  # a cycle
    del client
    gc.collect()
    heb.track("u", "Viewed").result(10)
    own = heb.brand("HEA")
    heb.close()
    with pytest.raises(ClosedError):
        own.track("u", "Login")


def test_a_dropped_client_with_a_view_still_sends_what_it_holds(brands: Sandbox) -> None:
    def leave() -> None:
        client = brands.client()
        heb = client.brand("HEB")
        client.__dict__["heb"] = heb  # a cycle
        for _ in range(100):
            heb.track("u", "Viewed")

    leave()
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "intilery-close":
            thread.join(10)
    assert by_brand(brands) == {"HEB": 100}


@pytest.mark.parametrize("name", ["", "../x", "H B", "\ud800", 5, None])
def test_a_views_name_is_checked_as_the_option_is(sandbox: Sandbox, name: Any) -> None:
    with sandbox.client() as client, pytest.raises(ConfigurationError) as caught:
        client.brand(name)
    assert caught.value.option == "brand_id"


def test_callbacks_of_an_async_clients_view_run_in_its_loop(brands: Sandbox) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with brands.async_client() as client:
            told: asyncio.Future[asyncio.AbstractEventLoop] = loop.create_future()
            async with client.brand("HEB") as heb:
                assert isinstance(heb, AsyncClient)
                heb.track("u", "Viewed", on_delivery=lambda _: told.set_result(asyncio.get_running_loop()))
            assert await told is loop
            receipt = await client.track("u", "Login")
            assert receipt.status == 200
            assert (await heb.verify([receipt.message_id], user_id="u")).complete

    asyncio.run(main())
    assert by_brand(brands) == {"HEA": 1, "HEB": 1}
