"""A program for Segment's Python client: its module, as most programs use it."""

import datetime
import os

import segment.analytics as analytics

analytics.write_key = os.environ["SEGMENT_WRITE_KEY"]
analytics.host = os.environ.get("SEGMENT_HOST")
analytics.debug = False
analytics.max_retries = 3
analytics.timeout = 10


def on_error(error, items):
    print("An error occurred:", error)


analytics.on_error = on_error

joined = datetime.datetime(2024, 7, 5, 11, 0, 0, 250000, tzinfo=datetime.timezone.utc)
analytics.identify(
    "ABC/123",
    {"email": "fred@example.com", "name": "Fred", "friends": 42, "joined": joined},
    context={"ip": "192.0.2.7", "groupId": "acme"},
    timestamp=joined,
)
analytics.track("ABC/123", "Signed Up", {"plan": "gold", "tags": {"spring"}}, timestamp=joined)
analytics.track(
    user_id=4711,
    event="Order Completed",
    properties={"revenue": 30.5, "products": [{"sku": "a", "price": 10}, {"sku": "b", "price": 20.5}]},
    timestamp=datetime.datetime(2024, 7, 5, 11, 0),
    message_id="order-1",
)
analytics.page("ABC/123", "Docs", "Python", {"url": "https://example.com/docs", "path": "/docs"}, timestamp=joined)
analytics.page(anonymous_id="visitor-1", name="Cart", timestamp=joined)
analytics.screen("ABC/123", "App", "Home", {"theme": "dark"}, timestamp=joined)
analytics.track(anonymous_id="visitor-1", event="Cart Viewed", integrations={"All": False, "Vero": True})
analytics.flush()
analytics.shutdown()
print("done")
