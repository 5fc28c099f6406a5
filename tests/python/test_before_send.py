"""before_send: a function that may change or drop an event."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import gc
import threading
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from intilery import Client, ClosedError, ConfigurationError, DeliveryError, IntileryError, ValidationError
from intilery.testing import Sandbox

WHEN = datetime.datetime(2019, 11, 18, 14, 30, 11, 444000, datetime.timezone.utc)


@dataclasses.dataclass
class Order:
    revenue: decimal.Decimal


def drop(message: dict[str, Any]) -> None:
    return None


def fail(message: dict[str, Any]) -> None:
    raise KeyError("fred@example.com")


def sent(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What arrived, without what every event gets of its own."""
    own = ("timestamp", "sentAt", "messageId", "context")
    return [{k: v for k, v in event["rawData"].items() if k not in own} for event in sandbox.events()]


def test_every_call_is_seen_as_send_takes_it_with_the_callers_own_values(sandbox: Sandbox) -> None:
    seen: list[dict[str, Any]] = []

    def look(message: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(message))
        return message

    order = Order(decimal.Decimal("30.50"))
    with sandbox.client(before_send=look, delivery="event") as client:
        client.identify("u", {"born": WHEN}, context={"ip": "1"}, timestamp=WHEN, anonymous_id="a-1", message_id="m-1")
        client.track("u", "Order", order)
        client.track("u", "Login", context=None)
        client.page(anonymous_id="a-1", properties={"path": "/"})
        client.screen("u", "Checkout")
        client.send_email("u", "asset-7", MappingProxyType({"code": "1234"}))
        client.start_journey("u", "j", step_id="2", data={"plan": "gold"})
        client.send({"action": "track", "userId": "u", "event": "Login"})
        client.send(MappingProxyType({"action": "track", "userId": "u", "event": "Mapped"}))
        client.flush(timeout=10)
        assert client.stats().delivered == 9
    assert seen == [
        {
            "action": "identify",
            "userId": "u",
            "anonymousId": "a-1",
            "traits": {"born": WHEN},
            "context": {"ip": "1"},
            "timestamp": WHEN,
            "messageId": "m-1",
        },
        {"action": "track", "userId": "u", "event": "Order", "properties": order},
        {"action": "track", "userId": "u", "event": "Login"},
        {"action": "page", "anonymousId": "a-1", "properties": {"path": "/"}},
        {"action": "screen", "userId": "u", "name": "Checkout"},
        {"action": "track", "userId": "u", "event": "send_email", "assetId": "asset-7", "code": "1234"},
        {
            "action": "track",
            "userId": "u",
            "event": "start_journey",
            "properties": {"journeyIdToTrigger": "j", "stepIdToTrigger": "2"},
            "plan": "gold",
        },
        {"action": "track", "userId": "u", "event": "Login"},
        {"action": "track", "userId": "u", "event": "Mapped"},
    ]
    assert seen[1]["properties"] is order


def test_what_looks_on_changes_nothing(sandbox: Sandbox) -> None:
    def fill(client: Client) -> list[dict[str, Any]]:
        sandbox.clear()
        with client:
            client.identify("u", {"born": WHEN, "tags": ["a"]}, timestamp=WHEN, anonymous_id="a-1")
            client.track("u", "Order", Order(decimal.Decimal("30.50")), message_id="m-1")
            client.screen("u", "Checkout", {"big": 10**30})
            client.send_sms("u", "asset-7", {"code": None})
            client.start_journey("u", "j", "2", {"plan": "gold"})
            client.send({"action": "page", "userId": "u"})
        return sent(sandbox)

    assert fill(sandbox.client(delivery="event")) == fill(
        sandbox.client(delivery="event", before_send=lambda message: message)
    )
    assert sandbox.event_count() == 6


def test_an_event_may_be_changed_and_the_callers_own_dict_is_not(sandbox: Sandbox) -> None:
    def scrub(message: dict[str, Any]) -> dict[str, Any]:
        message["userId"] = "someone"
        message.pop("context", None)
        message["properties"] = {"scrubbed": True}
        return message

    given = {"action": "track", "userId": "u", "event": "E", "context": {}}
    with sandbox.client(before_send=scrub) as client:
        client.send(given)
        client.flush(timeout=5)
    assert given == {"action": "track", "userId": "u", "event": "E", "context": {}}
    assert sent(sandbox) == [{"action": "track", "userId": "someone", "event": "E", "properties": {"scrubbed": True}}]


def test_another_message_may_take_its_place(sandbox: Sandbox) -> None:
    other = MappingProxyType({"action": "page", "userId": "v", "messageId": "m-2"})
    with sandbox.client(before_send=lambda _: other) as client:
        delivery = client.track("u", "E", message_id="m-1")
        assert delivery.result(timeout=5).message_id == delivery.message_id == "m-2"
    assert sent(sandbox) == [{"action": "page", "event": "page", "userId": "v"}]


def test_a_dropped_event_is_counted_and_reported_only_to_who_asks(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[IntileryError] = []
    with sandbox.client(before_send=drop, on_error=errors.append) as client:
        error = client.track("u", "E").exception(timeout=5)
        client.track("u", "E")
        stats = client.stats()
    assert isinstance(error, DeliveryError)
    assert (error.reason, error.arrived, error.attempts) == ("before_send", "no", 0)
    assert stats.failed_by_reason == {"before_send": 2}
    assert stats.accepted == stats.failed == 2
    assert errors == []
    assert caplog.text == ""
    assert sandbox.event_count() == 0
    with pytest.raises(ClosedError):
        client.track("u", "E")


def test_what_it_raises_is_the_cause_of_a_validation_error_and_nothing_is_sent(sandbox: Sandbox) -> None:
    with sandbox.client(before_send=fail) as client:
        with pytest.raises(ValidationError) as caught:
            client.track("u", "E")
        assert client.stats().accepted == 0
    assert (caught.value.code, caught.value.path) == ("before_send_failed", "before_send")
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.__cause__.__traceback__ is not None
    assert "fred" not in str(caught.value)
    assert sandbox.event_count() == 0


def test_with_on_invalid_report_what_it_raises_fails_the_delivery(sandbox: Sandbox) -> None:
    errors: list[IntileryError] = []
    with sandbox.client(before_send=fail, on_invalid="report", on_error=errors.append) as client:
        error = client.track("u", "E").exception(timeout=5)
        client.track("u", "E", on_delivery=lambda _: None)
        assert client.stats().failed_by_reason == {"before_send_failed": 2}
    assert isinstance(error, ValidationError)
    assert isinstance(error.__cause__, KeyError)
    assert [type(error.__cause__) for error in errors] == [KeyError]


def test_ctrl_c_in_it_stays_what_it_is(sandbox: Sandbox) -> None:
    def interrupted(message: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with sandbox.client(before_send=interrupted) as client:
        with pytest.raises(KeyboardInterrupt):
            client.track("u", "E")
        assert client.stats().accepted == 0


async def _asynchronous(message: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("returned", [5, "text", [{}], True, {1}, object()])
def test_what_is_no_object_is_refused(sandbox: Sandbox, returned: Any) -> None:
    with sandbox.client(before_send=lambda _: returned) as client, pytest.raises(ValidationError) as caught:
        client.track("u", "E")
    assert (caught.value.code, caught.value.path) == ("wrong_type", "before_send")
    assert type(returned).__name__ in str(caught.value)


@pytest.mark.filterwarnings("ignore:coroutine")
def test_an_asynchronous_function_is_refused(sandbox: Sandbox) -> None:
    wrong: Any = _asynchronous
    with sandbox.client(before_send=wrong) as client, pytest.raises(ValidationError, match="coroutine"):
        client.track("u", "E")


def test_what_it_returns_is_checked_anew(sandbox: Sandbox) -> None:
    def spoil(message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "properties": {"x": [float("nan")]}}

    with sandbox.client(before_send=spoil) as client, pytest.raises(ValidationError) as caught:
        client.track("u", "E")
    assert (caught.value.code, caught.value.path) == ("not_finite", "properties.x[0]")


def test_it_may_mend_what_is_wrong(sandbox: Sandbox) -> None:
    def mend(message: dict[str, Any]) -> dict[str, Any]:
        return {**message, "userId": str(message["userId"])}

    with sandbox.client(before_send=mend) as client:
        assert client.track(5, "E").result(timeout=5).delivered  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "code", "path"),
    [
        (lambda client: client.send_email("u", "a", {"userId": "x"}), "reserved_field", "data.userId"),
        (lambda client: client.send_email("u", "a", [1]), "wrong_type", "data"),
        (lambda client: client.send_email("u", "a", {"x": {1}}), "unsupported_type", "data.x"),
        (lambda client: client.send([1]), "wrong_type", ""),
        (lambda client: client.send(None), "wrong_type", ""),
    ],
)
def test_what_is_no_message_is_refused_before_it(sandbox: Sandbox, call: Any, code: str, path: str) -> None:
    seen: list[Mapping[str, Any]] = []
    with sandbox.client(before_send=seen.append) as client, pytest.raises(ValidationError) as caught:
        call(client)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert seen == []


def test_it_may_call_the_client_again_from_many_threads() -> None:
    def twice(message: dict[str, Any]) -> dict[str, Any]:
        if message["event"] == "Outer":
            client.track(message["userId"], "Inner")
        return message

    with Sandbox(rate_limit=0) as sandbox:
        with sandbox.client(before_send=twice) as client:

            def work(name: str) -> None:
                for _ in range(200):
                    client.track(name, "Outer")

            threads = [threading.Thread(target=work, args=(f"user-{i}",)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        names = [event["rawData"]["event"] for event in sandbox.events()]
    assert (names.count("Inner"), names.count("Outer")) == (800, 800)


def test_it_may_close_the_client(sandbox: Sandbox) -> None:
    def close(message: dict[str, Any]) -> dict[str, Any]:
        client.close(timeout=5)
        return message

    client = sandbox.client(before_send=close)
    with pytest.raises(ClosedError):
        client.track("u", "E")


def test_it_works_in_an_async_client(sandbox: Sandbox) -> None:
    async def main() -> None:
        async with sandbox.async_client(before_send=drop) as client:
            with pytest.raises(DeliveryError, match="before_send"):
                await client.track("u", "E")

    asyncio.run(main())


@pytest.mark.parametrize("option", ["before_send", "on_error", "default"])
def test_a_function_that_is_none_is_named(sandbox: Sandbox, option: str) -> None:
    wrong: Any = {option: 5}
    with pytest.raises(ConfigurationError, match=f"{option} must be callable, not int") as caught:
        sandbox.client(**wrong)
    assert (caught.value.option, caught.value.code) == (option, "wrong_type")
    nothing: Any = {option: None}
    sandbox.client(**nothing).close()


def test_a_client_that_its_own_functions_hold_is_collected_and_loses_nothing(sandbox: Sandbox) -> None:
    class Service:
        def __init__(self) -> None:
            self.client = sandbox.client(before_send=self.look, on_error=self.told, default=self.convert)

        def look(self, message: dict[str, Any]) -> dict[str, Any]:
            return message

        def told(self, error: IntileryError) -> None: ...

        def convert(self, value: object) -> object:
            return str(value)

    service = Service()
    for _ in range(200):
        service.client.track("u", "E")
    gone = weakref.ref(service)
    thread = service.client._thread
    assert thread is not None
    del service
    gc.collect()  # closes the client, on a thread of its own
    thread.join(timeout=10)
    assert sandbox.event_count() == 200
    for _ in range(100):
        if gone() is None:
            break
        threading.Event().wait(0.02)  # until the closing thread lets go of it
        gc.collect()
    assert gone() is None
