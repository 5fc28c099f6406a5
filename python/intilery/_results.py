"""What a client tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from ._errors import IntileryError

if TYPE_CHECKING:
    from pathlib import Path


class Receipt(NamedTuple):
    """The final fate of one event."""

    message_id: str
    event_id: str | None
    """The service's name for the event; None for a batch."""
    status: int
    """HTTP status of the last answer; 0: no answer."""
    attempts: int
    """Requests that carried the event."""
    route: Literal["event", "batch"]
    latency: float
    """Seconds from the call to the fate."""
    error: IntileryError | None
    """Why it failed; None if it was delivered."""
    read_back: bool = False
    """It was never acknowledged, and found by reading back (`on_unknown="check"`); then it has its `event_id`."""

    @property
    def delivered(self) -> bool:
        return self.error is None


class Flush(NamedTuple):
    """What `flush` and `close` saw of the events that were accepted before them and had no fate yet."""

    delivered: int
    failed: int
    remaining: int
    """Still without a fate at the time-out."""


class Stats(NamedTuple):
    """A client's counters, taken at one moment: `accepted == delivered + failed + queued` always holds."""

    accepted: int
    delivered: int
    failed: int
    failed_by_reason: dict[str, int]
    queued: int
    """Without a fate yet; those in flight are among them."""
    in_flight: int
    """In a request that has not been answered."""
    queued_bytes: int
    retried: int
    """Times that an event was sent again."""
    read_back: int
    """Events that were never acknowledged, and found by reading back."""
    bytes_sent: int
    """Of request bodies, retries included."""
    requests: dict[int, int]
    """By HTTP status; 0: no answer."""
    plan_violations: dict[str, int]
    """Broken rules of the tracking plan, with `plan_mode="warn"`, by event and rule."""
    rate_left: float
    """Requests that the token bucket would let go now."""
    state: Literal["running", "paused: auth", "paused: rate", "paused: unreachable", "closed"]


class Verification(NamedTuple):
    """What reading back showed of the messages asked for."""

    expected: int
    found: int
    missing: list[str]
    """Message ids that are not there."""
    duplicate: list[str]
    """Message ids that are there more than once."""

    @property
    def complete(self) -> bool:
        return not self.missing and not self.duplicate


class SourceVerification(NamedTuple):
    """What reading back showed of a source's rows."""

    rows: int
    """Read from the source."""
    rejected: int
    """Of them, those that can be no event, and so were never sent."""
    repeated: int
    """Those with the message id of an earlier row, which is the same event."""
    expected: int
    """All others."""
    found: int
    pages: int
    """Requests for reading."""
    missing: list[tuple[int, str]]
    """Rows that are not there: each one's number, and its message id (empty if the source's own is no UUID)."""
    duplicate: list[tuple[int, str]]
    """Rows of which there is more than one event."""
    seconds: float

    @property
    def complete(self) -> bool:
        return not self.missing and not self.duplicate


class Sent(NamedTuple):
    """What became of a source's rows: `rows == delivered + rejected + failed + remaining`.

    The rows of earlier runs that a checkpoint remembers are among them.
    """

    rows: int
    """Read so far."""
    sent: int
    """Handed to the client: the rest was rejected."""
    delivered: int
    rejected: int
    """Could not become events; they are in the reject file."""
    failed: int
    """Became events that were not delivered; they are in the reject file, too."""
    remaining: int
    """Without a fate, when the run was ended early."""
    resent: int
    """Of the rows with a fate, those that more than one request of these runs carried. What a killed process had under
    way, and is sent again, is not among them: it cannot be known."""
    resumed: int
    """Rows that had their fates before this run."""
    total: int | None
    """Rows in the source, where that is known."""
    seconds: float
    """Of this run."""
    rejects: Path | None
    """The reject file, if there is one of this run, or of the one that it goes on with."""
