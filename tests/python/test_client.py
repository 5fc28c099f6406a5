from __future__ import annotations

import datetime
import pickle
import threading
import time
from typing import Any

import pytest

import intilery
from intilery import (
    AuthError,
    Client,
    ClosedError,
    ConfigurationError,
    Delivery,
    DeliveryError,
    QueueFullError,
    Receipt,
    ValidationError,
)
from intilery.testing import Sandbox

ACCOUNT: dict[str, Any] = {"client_id": "hea", "account_id": "hea", "brand_id": "HEA", "auth_token": "secret-token"}


def test_a_delivery_gives_its_receipt_in_all_three_ways(sandbox: Sandbox) -> None:
    receipts: list[Receipt] = []
    done: list[Delivery] = []
    with sandbox.client() as client:
        delivery = client.track("u", "Login", on_delivery=receipts.append)
        delivery.add_done_callback(done.append)
        receipt = delivery.result(timeout=5)
    assert receipt.delivered
    assert receipt.status == 200
    assert receipt.attempts == 1
    assert receipt.route == "event"
    assert receipt.event_id == sandbox.events()[0]["eventId"]
    assert receipt.message_id == delivery.message_id
    assert 0 < receipt.latency < 5
    assert receipts == [receipt]
    assert done == [delivery]
    assert delivery.done()
    assert delivery.exception() is None
    delivery.add_done_callback(done.append)  # the fate is known: called at once
    assert done == [delivery, delivery]


def test_every_call_arrives_as_the_contract_has_it(sandbox: Sandbox) -> None:
    when = datetime.datetime(2019, 11, 18, 14, 30, 11, 444000, datetime.timezone(datetime.timedelta(hours=1)))
    with sandbox.client(delivery="event") as client:
        client.identify("u", {"email": "fred@example.com"}, timestamp=when)
        client.track("u", "Order Completed", {"revenue": 30.5}, context={"ip": "1.2.3.4"}, message_id="m-1")
        client.page("u", {"path": "/cart"})
        client.screen("u", "Checkout")
        client.send_email("u", "asset-7", {"code": "1234"})
        client.start_journey("u", "journey-1", step_id="2", data={"plan": "gold"})
        client.send({"action": "track", "userId": "u", "event": "Login"})
    sent = [event["rawData"] for event in sandbox.events()]
    assert [event["action"] for event in sent] == ["identify", "track", "page", "screen", "track", "track", "track"]
    assert sent[0]["timestamp"] == "2019-11-18T13:30:11.444Z"
    assert sent[1]["messageId"] == "m-1"
    assert sent[1]["context"] == {
        "ip": "1.2.3.4",
        "library": {"name": "intilery-python", "version": intilery.__version__},
    }
    assert sent[3]["name"] == "Checkout"
    assert (sent[4]["event"], sent[4]["assetId"], sent[4]["code"]) == ("send_email", "asset-7", "1234")
    assert sent[5]["properties"] == {"journeyIdToTrigger": "journey-1", "stepIdToTrigger": "2"}
    assert sent[5]["plan"] == "gold"


@pytest.mark.parametrize("delivery", ["event", "batch", "auto"])
def test_each_user_is_in_order_and_nothing_is_lost_or_doubled(delivery: Any) -> None:
    with Sandbox(rate_limit=0) as sandbox:
        with sandbox.client(delivery=delivery) as client:
            for number in range(2000):
                client.track(f"user-{number % 7}", "Step", {"number": number})
        events = [event["rawData"] for event in sandbox.events()]
        assert set(sandbox.stats()["requests"]) == {"200"}
    assert len({event["messageId"] for event in events}) == len(events) == 2000
    for user in range(7):
        numbers = [event["properties"]["number"] for event in events if event["userId"] == f"user-{user}"]
        assert numbers == list(range(user, 2000, 7))


def test_auto_stays_within_the_rate_and_batches_what_waits(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        for number in range(20_000):
            client.track(f"user-{number % 50}", "Step", {"number": number})
        flush = client.flush(timeout=30)
        assert flush.remaining == 0
        assert client.stats().delivered == 20_000
    assert sandbox.event_count() == 20_000
    assert "429" not in sandbox.stats()["requests"]


def test_a_mistake_names_its_path_and_harms_nothing_else(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        with pytest.raises(ValidationError) as caught:
            client.track("u", "Order", {"products": [{}, {"price": float("nan")}]})
        client.track("u", "Login")
    assert caught.value.code == "not_finite"
    assert caught.value.path == "properties.products[1].price"
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith("properties.products[1].price is NaN")
    assert sandbox.event_count() == 1


def test_on_invalid_report_makes_a_mistake_a_failed_delivery(sandbox: Sandbox) -> None:
    receipts: list[Receipt] = []
    with sandbox.client(on_invalid="report") as client:
        deliveries = [
            client.track("u", "E", {"x": {1, 2}}, on_delivery=receipts.append),
            client.track(5, "E", on_delivery=receipts.append),  # type: ignore[arg-type]
        ]
        errors = [delivery.exception(timeout=5) for delivery in deliveries]
        assert client.stats().failed_by_reason == {"unsupported_type": 1, "wrong_type": 1}
    assert [type(error) for error in errors] == [ValidationError, ValidationError]
    assert [receipt.delivered for receipt in receipts] == [False, False]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda client: client.track("u", "E", {}, {}), "takes at most 3 positional"),
        (lambda client: client.track("u", "E", user_id="u"), "got 'user_id' twice"),
        (lambda client: client.track("u", "E", propertes={}), 'did you mean "properties"'),
        (lambda client: client.track("u", "E", on_delivery=1), "on_delivery must be callable, not int"),
    ],
)
def test_a_call_that_python_itself_would_refuse_is_a_type_error(sandbox: Sandbox, wrong: Any, message: str) -> None:
    with sandbox.client() as client, pytest.raises(TypeError, match=message):
        wrong(client)


@pytest.mark.parametrize(
    ("options", "option", "code"),
    [
        ({}, "client_id", "required"),
        ({**ACCOUNT, "auth_token": "secret\ntoken"}, "auth_token", "invalid_value"),
        ({**ACCOUNT, "endpoint": "tracking.intilery.com"}, "endpoint", "invalid_value"),
        ({**ACCOUNT, "endpoint": "http://example.com"}, "endpoint", "invalid_value"),
        ({**ACCOUNT, "flushat": 5}, "flushat", "unknown_option"),
        ({**ACCOUNT, "flush_at": "5"}, "flush_at", "wrong_type"),
        ({**ACCOUNT, "flush_at": 0}, "flush_at", "out_of_bounds"),
        ({**ACCOUNT, "delivery": "fast"}, "delivery", "invalid_value"),
        ({**ACCOUNT, "rate_limit_store": "http://secret@redis"}, "rate_limit_store", "invalid_value"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], option: str, code: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(**options)
    assert (caught.value.option, caught.value.code) == (option, code)
    assert option in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_token_is_shown_nowhere(sandbox: Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    client = sandbox.client(auth_token="very-secret")
    client.track("u", "E", {"private": "matter"})
    client.flush(timeout=0.3)
    shown = repr(client) + str(client.stats()) + repr(client.track("u", "F"))
    client.close(timeout=0)
    shown += "".join(capfd.readouterr())
    assert "very-secret" not in shown
    assert "matter" not in shown


def test_a_call_after_close_is_a_closed_error(sandbox: Sandbox) -> None:
    client = sandbox.client()
    client.close()
    client.close()
    with pytest.raises(ClosedError):
        client.track("u", "E")
    assert client.stats().state == "closed"


def test_a_full_queue_fails_the_delivery_or_the_call(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 300})
    big = {"text": "x" * 900}
    with sandbox.client(max_queue_bytes=1500) as client:
        first, second = client.track("u", "E", big), client.track("u", "E", big)
        assert isinstance(second.exception(timeout=5), QueueFullError)
        assert first.result(timeout=5).delivered
    with sandbox.client(max_queue_bytes=1500, on_full="raise") as client:
        client.track("u", "E", big)
        with pytest.raises(QueueFullError):
            client.track("u", "E", big)
    with sandbox.client(max_queue_bytes=1500, on_full="block") as client:
        started = time.monotonic()
        deliveries = [client.track("u", "E", big) for _ in range(2)]
        assert time.monotonic() - started > 0.2
        assert all(delivery.result(timeout=5).delivered for delivery in deliveries)


def test_a_wrong_token_pauses_until_it_is_changed(sandbox: Sandbox) -> None:
    with sandbox.client(auth_token="wrong", retry_initial=0.01) as client:
        delivery = client.track("u", "E")
        with pytest.raises(intilery.TimeoutError):
            delivery.result(timeout=0.2)
        assert client.stats().state == "paused: auth"
        client.set_auth_token("sandbox-token")
        assert delivery.result(timeout=5).attempts > 1


def test_what_a_wrong_token_left_is_an_auth_error(sandbox: Sandbox) -> None:
    with sandbox.client(auth_token="wrong", retry_initial=0.01, delivery_timeout=0.2) as client:
        error = client.track("u", "E").exception(timeout=5)
    assert isinstance(error, AuthError)
    assert error.status == 403
    assert error.arrived == "no"


def test_a_refused_connection_ends_as_expired() -> None:
    with Sandbox() as gone:
        url = gone.url
    client = Client(**{**ACCOUNT, "endpoint": url, "retry_initial": 0.01, "delivery_timeout": 0.2})
    error = client.track("u", "E").exception(timeout=5)
    client.close()
    assert isinstance(error, DeliveryError)
    assert (error.reason, error.arrived, error.status) == ("expired", "no", 0)


def test_a_refused_event_says_why_and_the_others_arrive(sandbox: Sandbox) -> None:
    sandbox.set_faults({"user_id": "bad", "status": 400, "body": '{"success":false,"message":"no such user"}'})
    with sandbox.client(delivery="batch") as client:
        deliveries = [client.track("bad" if number == 3 else f"user-{number}", "E") for number in range(8)]
        errors = [delivery.exception(timeout=5) for delivery in deliveries]
    assert [number for number, error in enumerate(errors) if error] == [3]
    refused = errors[3]
    assert isinstance(refused, DeliveryError)
    assert refused.reason == "rejected"
    assert refused.status == 400
    assert "no such user" in refused.body
    assert sandbox.event_count() == 7


def test_a_lost_acknowledgement_is_sent_again_with_the_same_id(sandbox: Sandbox) -> None:
    sandbox.set_faults({"lost_ack": True, "times": 1})
    with sandbox.client(retry_initial=0.01) as client:
        receipt = client.track("u", "E").result(timeout=5)
    assert receipt.attempts == 2
    ids = [event["rawData"]["messageId"] for event in sandbox.events()]
    assert ids == [receipt.message_id] * 2


def test_verify_finds_what_arrived_and_what_did_not(sandbox: Sandbox) -> None:
    with sandbox.client() as client:
        deliveries = [client.track("a/b c", "E") for _ in range(150)]
        client.flush(timeout=10)
        found = client.verify(deliveries, "a/b c")
        assert (found.expected, found.found, found.complete) == (150, 150, True)
        missing = client.verify([deliveries[0], "not-sent"], timeout=0.3)
    assert missing.missing == ["not-sent"]
    assert not missing.complete


def test_flush_ends_at_its_timeout(sandbox: Sandbox) -> None:
    sandbox.set_faults({"delay_ms": 1000})
    client = sandbox.client()
    client.track("u", "E")
    assert client.flush(timeout=0.05).remaining == 1
    assert client.close(timeout=0.05).remaining == 1


def test_a_callback_may_use_the_client_and_may_raise(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    again = threading.Event()

    def fails(receipt: Receipt) -> None:
        raise RuntimeError("in the callback")

    with sandbox.client() as client:
        client.track("u", "First", on_delivery=fails)
        client.track("u", "Second", on_delivery=lambda _: client.track("u", "Third", on_delivery=lambda _: again.set()))
        assert again.wait(5)
    assert sandbox.event_count() == 3
    assert "a callback raised" in caplog.text


def test_a_failure_that_nobody_observes_is_logged(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    sandbox.set_faults({"status": 400})
    with sandbox.client() as client:
        for _ in range(3):
            client.track("u", "E")
    assert "not delivered (rejected)" in caplog.text


def test_many_threads_share_a_client() -> None:
    with Sandbox(rate_limit=0) as sandbox:
        with sandbox.client() as client:

            def work(name: str) -> None:
                for number in range(500):
                    client.track(name, "Step", {"number": number})

            threads = [threading.Thread(target=work, args=(f"user-{i}",)) for i in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sandbox.event_count() == 3000


def test_errors_can_be_pickled() -> None:
    error = DeliveryError("gone", code="expired", status=503, message_id="m")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.reason, copy.status, copy.message_id) == (
        DeliveryError, "gone", "expired", 503, "m",
    )  # fmt: skip


def test_a_client_cannot_be_pickled(sandbox: Sandbox) -> None:
    with sandbox.client() as client, pytest.raises(TypeError, match="each process"):
        pickle.dumps(client)


def test_options_come_from_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(f"INTILERY_{name.upper()}", value)
    monkeypatch.setenv("INTILERY_AUTH_TOKEN", "sandbox-token")
    monkeypatch.setenv("INTILERY_ENDPOINT", "http://127.0.0.1:9")
    with Client.from_env(endpoint=sandbox.url) as client:
        assert client.track("u", "E").result(timeout=5).delivered
    monkeypatch.setenv("INTILERY_FLUSH_AT", "many")
    with pytest.raises(ConfigurationError, match="INTILERY_FLUSH_AT"):
        Client.from_env()
