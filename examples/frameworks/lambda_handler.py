"""AWS Lambda, and platforms like it: the process is frozen once the handler has returned."""

from typing import Any

from intilery import Client

events = Client.from_env()  # at a cold start; later calls find it, with its connections


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    events.track(event["user_id"], "Order Completed", {"total": event["total"]})
    seconds_left = context.get_remaining_time_in_millis() / 1000
    events.flush(timeout=min(2.0, seconds_left / 2))  # what is left then goes on when the process is thawed
    return {"statusCode": 200}
