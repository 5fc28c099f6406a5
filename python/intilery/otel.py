"""A client's counters as OpenTelemetry metrics; docs/monitoring.md lists them.

from intilery.otel import instrument

instrument(client)
"""

from __future__ import annotations

import json
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Union, get_args, get_type_hints

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter, get_meter_provider
except ImportError as error:
    raise ImportError("intilery.otel needs OpenTelemetry: pip install intilery[otel]") from error

from . import AsyncClient, Client, Stats, __version__, _native

__all__ = ["Instrumentation", "instrument"]

_Client = Union[Client, AsyncClient]
_Value = Union[str, int, float, bool]

_STATES = get_args(get_type_hints(Stats)["state"])


class _Metric(NamedTuple):
    """One of metrics.json, which Node has too."""

    name: str
    kind: str
    unit: str
    field: str
    """Of Stats."""
    description: str
    attribute: str | None = None
    """What a field of many parts is told apart by."""

    def parts(self, stats: Stats) -> Iterator[tuple[dict[str, _Value], Any]]:
        value = getattr(stats, self.field)
        if self.attribute is None:
            yield {}, value
            return
        if self.field == "state":
            value = {state: int(state == value) for state in _STATES}
        for label, part in value.items():
            yield {self.attribute: label}, part


_METRICS = [_Metric(**one) for one in json.loads(Path(__file__).with_name("metrics.json").read_text("utf-8"))]


class Instrumentation:
    """What `instrument` returns."""

    def __init__(self, instruments: _Instruments, client: _Client, attributes: Mapping[str, _Value]) -> None:
        self._instruments = instruments
        self._client = weakref.ref(client)
        self._attributes = dict(attributes)

    def stop(self) -> None:
        """Observes the client no more. May be called more than once."""
        self._instruments.watched.discard(self)


class _Instruments:
    """A meter provider's instruments. It gets them once: an SDK ignores the callbacks of an instrument's twin."""

    def __init__(self, provider: MeterProvider | None) -> None:
        self.watched: set[Instrumentation] = set()
        self._reading: list[tuple[dict[str, _Value], Stats]] = []
        self._served = {metric.name for metric in _METRICS}
        meter = get_meter("intilery", __version__, provider)
        for metric in _METRICS:
            create = getattr(meter, f"create_observable_{metric.kind}")
            create(metric.name, [partial(self._observe, metric)], metric.unit, metric.description)

    def _observe(self, metric: _Metric, _: CallbackOptions) -> list[Observation]:
        # A collection asks once for each metric: who asks again begins the next one. Without a lock, which a fork could
        # leave held: two collections at a time may at worst read more often.
        if metric.name in self._served:
            self._reading = self._read()
            self._served = set()
        self._served.add(metric.name)

        sums: Counter[frozenset[tuple[str, _Value]]] = Counter()
        for attributes, stats in self._reading:
            for label, value in metric.parts(stats):
                sums[frozenset({**attributes, **label}.items())] += value
        return [Observation(value, dict(attributes)) for attributes, value in sums.items()]

    def _read(self) -> list[tuple[dict[str, _Value], Stats]]:
        reading = []
        for watch in list(self.watched):
            client = watch._client()
            if client is None:
                watch.stop()
            elif not _native.is_foreign(client):  # not after a fork: its events are the parent's
                reading.append((watch._attributes, client.stats()))
        return reading


class _Global:
    """Stands for the global meter provider, which may be set after the first `instrument`."""


_lock = threading.Lock()
_instruments: weakref.WeakKeyDictionary[object, _Instruments] = weakref.WeakKeyDictionary()


def instrument(
    client: _Client,
    *,
    meter_provider: MeterProvider | None = None,
    attributes: Mapping[str, _Value] | None = None,
) -> Instrumentation:
    """Registers a client's counters as observable instruments, which read `client.stats()` once for each collection.

    The client is held weakly: it is observed until `stop()`, or until nobody else holds it.

    Args:
        client: The client to observe.
        meter_provider: Default: the global one, even if that is set later.
        attributes: Of every observation. Clients with the same attributes are added up.
    """
    is_global = meter_provider is None or meter_provider is get_meter_provider()
    key = _Global if is_global else meter_provider
    with _lock:
        if key not in _instruments:
            _instruments[key] = _Instruments(meter_provider)
        instruments = _instruments[key]
    watch = Instrumentation(instruments, client, attributes or {})
    instruments.watched.add(watch)
    return watch
