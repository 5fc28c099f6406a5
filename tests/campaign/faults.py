"""The trouble that the strict server makes: seeded, so that a run can be repeated."""

from __future__ import annotations

import random
from typing import NamedTuple


class Fault(NamedTuple):
    """One way to go wrong."""

    kind: str
    status: int = 200
    """What is answered; 0: nothing."""
    stored: bool = False
    """Whether the events are kept. If they are and the answer is not whole, their acknowledgement is lost."""
    unread: bool = False
    """Ends the connection at the request's head."""
    reset: bool = False
    """Ends the connection with RST."""
    retry_after: int | None = None
    weight: int = 10
    """0: only if it is named."""


FAULTS = [
    Fault("500", 500),
    Fault("502", 502),
    Fault("503", 503),
    Fault("504", 504),
    Fault("429", 429, retry_after=0),
    Fault("429 wait", 429, retry_after=1, weight=1),  # rare: a client that obeys stands still for that second
    Fault("delay", stored=True),
    Fault("closed unread", 0, unread=True),
    Fault("reset unread", 0, unread=True, reset=True),
    Fault("closed", 0),
    Fault("504 stored", 504, stored=True),
    Fault("lost", 0, stored=True),
    Fault("lost by reset", 0, stored=True, reset=True),
    Fault("closed in the head", stored=True),
    Fault("closed in the body", stored=True),
    Fault("garbage", stored=True),
    Fault("not JSON", stored=True),
    Fault("reset in the body", 0, unread=True, reset=True, weight=0),
    Fault("dribbled", stored=True, weight=0),
    Fault("stalled", stored=True, weight=0),  # until the client gives up
]


class Script:
    """Says of each request, in the order of their arrival, what goes wrong with it."""

    def __init__(self, seed: int, share: float, kinds: list[str]) -> None:
        self._chance = random.Random(seed)
        self._share = share
        self._faults = [fault for fault in FAULTS if not kinds or fault.kind in kinds]
        self._weights = [fault.weight or 10 * bool(kinds) for fault in self._faults]

    def next(self) -> Fault | None:
        if self._chance.random() >= self._share:
            return None
        return self._chance.choices(self._faults, self._weights)[0]

    def delay(self) -> float:
        """Seconds that a delayed answer takes."""
        return self._chance.uniform(0.01, 0.2)
