"""A program for Segment's Python client: clients of its own."""

import os
import uuid

from segment.analytics import Client


class Shop:
    def __init__(self) -> None:
        self.failures = []
        self.analytics = Client(
            os.environ["SEGMENT_WRITE_KEY"],
            host=os.environ.get("SEGMENT_HOST"),
            max_queue_size=1000,
            on_error=lambda error, batch: self.failures.append(error),
            gzip=False,
            upload_size=50,
            upload_interval=0.1,
            thread=1,
        )

    def order(self, number: int) -> bool:
        queued, message = self.analytics.track(
            f"user-{number % 3}", "Order Completed", {"number": number, "total": number * 1.5}, {"locale": "en-GB"}
        )
        assert message["event"] == "Order Completed"
        assert message["type"] == "track"
        assert uuid.UUID(message["messageId"])
        return queued


shop = Shop()
print(sum(shop.order(number) for number in range(120)))
shop.analytics.flush()
shop.analytics.join()
print(len(shop.failures))
