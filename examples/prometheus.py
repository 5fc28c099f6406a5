"""A small web backend: each call of it is tracked, and `GET /metrics` tells Prometheus how that goes.

python -m intilery sandbox  # in another terminal; its first line is the endpoint
export INTILERY_ENDPOINT=http://127.0.0.1:… INTILERY_AUTH_TOKEN=sandbox-token
export INTILERY_CLIENT_ID=hea INTILERY_ACCOUNT_ID=hea INTILERY_BRAND_ID=HEA
python examples/prometheus.py
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_args, get_type_hints

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from intilery import AsyncClient, Client, Stats

STATES = get_args(get_type_hints(Stats)["state"])


def counter(name: str, help: str, value: float) -> Metric:
    """Its name gets `_total` from prometheus_client."""
    return CounterMetricFamily(name, help, value)


def counters(name: str, help: str, label: str, values: dict[Any, int]) -> Metric:
    family = CounterMetricFamily(name, help, labels=[label])
    for part, value in values.items():
        family.add_metric([str(part)], value)
    return family


class ClientCollector(Collector):
    """Reads the client's counters once for each scrape. The names are those that OpenTelemetry's metrics get, too."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    def collect(self) -> Iterator[Metric]:
        stats = self._client.stats()
        yield counter("intilery_events_accepted", "Events that the client took.", stats.accepted)
        yield counter("intilery_events_delivered", "Events that Intilery acknowledged.", stats.delivered)
        yield counters("intilery_events_failed", "Events that were given up.", "reason", stats.failed_by_reason)
        yield GaugeMetricFamily("intilery_events_queued", "Events without a fate yet.", stats.queued)
        yield GaugeMetricFamily("intilery_events_in_flight", "Events in an unanswered request.", stats.in_flight)
        yield counter("intilery_events_retried", "Times that an event was sent again.", stats.retried)
        yield counters(
            "intilery_requests", "Requests that ended; 0: no answer.", "http_response_status_code", stats.requests
        )
        yield counter("intilery_bytes_sent", "Request bodies, retries included.", stats.bytes_sent)
        yield GaugeMetricFamily("intilery_queue_bytes", "Size of the events without a fate yet.", stats.queued_bytes)
        yield GaugeMetricFamily("intilery_rate_left", "Requests that may go now.", stats.rate_left)
        state = GaugeMetricFamily("intilery_state", "1 for the state that the client is in.", labels=["state"])
        for name in STATES:
            state.add_metric([name], name == stats.state)
        yield state


def main() -> None:
    with Client.from_env() as client:
        registry = CollectorRegistry()
        registry.register(ClientCollector(client))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    body = generate_latest(registry)
                else:
                    client.track("visitor", "Page Opened", {"path": self.path})
                    body = b"ok\n"
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            print(f"http://127.0.0.1:{server.server_port}", flush=True)
            server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        main()
