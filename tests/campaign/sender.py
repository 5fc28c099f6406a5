"""Sends the campaign's events from Python: sender.py EVENTS USERS RATE IDS

The client's options come from the environment. RATE is events a second, 0: as fast as it can. IDS is a file for the
ids of all that was delivered, "-": none. Prints one line of JSON: what the client's receipts and counters say.
sender.mjs and sender.cpp send the same.
"""

from __future__ import annotations

import json
import sys
import time

from intilery import Client, Receipt

EVENTS, USERS, RATE = (int(argument) for argument in sys.argv[1:4])
IDS = sys.argv[4]


def main() -> None:
    delivered_ids: list[str] = []
    receipts = {"delivered": 0, "failed": 0}
    due: dict[str, int] = {}

    def told(receipt: Receipt) -> None:
        receipts["delivered" if receipt.delivered else "failed"] += 1
        if receipt.delivered and IDS != "-":
            delivered_ids.append(receipt.message_id)

    def numbered(user: str, **values: object) -> dict[str, object]:
        number = due.get(user, 0)
        due[user] = number + 1
        return {"n": number, "mark": f"{user}/{number}/é😀", **values}

    def send(i: int) -> None:
        block, place = divmod(i, 50)
        user = f"user-{(block if place < 2 else i * 7919) % USERS}"
        if place == 0:
            client.identify(user, numbered(user, email="fred@example.com", plan=None), on_delivery=told)
        elif place == 1:
            client.send_email(user, "asset-7", numbered(user, code="1234"), on_delivery=told)
        elif place == 2:
            visitor = f"visitor-{block % USERS}"
            client.page(anonymous_id=visitor, properties=numbered(visitor, path="/cart"), on_delivery=told)
        else:
            note = "x" * (40_000 if i % 1000 == 999 else i * 31 % 500)
            properties = numbered(user, revenue=30.25, items=[{"sku": "a-1"}], note=note)
            client.track(user, "Order Completed", properties, on_delivery=told)

    def check_balance() -> None:
        stats = client.stats()
        if stats.accepted != stats.delivered + stats.failed + stats.queued:
            sys.exit(f"accepted is not delivered + failed + queued: {stats}")

    client = Client.from_env()
    start = time.monotonic()
    for i in range(EVENTS):
        if RATE and (early := start + i / RATE - time.monotonic()) > 0:
            time.sleep(max(early, 0.01))
        send(i)
        if i % 1000 == 0:
            check_balance()
    client.flush()
    check_balance()
    client.close()
    stats = client.stats()
    if IDS != "-":
        with open(IDS, "w") as file:
            file.writelines(f"{message_id}\n" for message_id in delivered_ids)
    print(
        json.dumps(
            {
                "accepted": stats.accepted,
                "delivered": stats.delivered,
                "failed": stats.failed,
                "failed_by_reason": stats.failed_by_reason,
                "queued": stats.queued,
                "receipts": receipts,
                "requests": stats.requests,
            }
        )
    )


if __name__ == "__main__":
    main()
