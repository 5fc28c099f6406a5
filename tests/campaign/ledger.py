"""What arrived, how often and in which order; and everything about it that should not be so."""

from __future__ import annotations

from collections import Counter
from typing import Any

from contract import Message

SETTLE = 0.5  # seconds between an identify's acknowledgement and a command to that user
CLOCK = 0.002  # what two programs' clocks and timers may differ by


class Ledger:
    """Follows each event from its first copy to its acknowledgement.

    Every event carries its user's running number `n`, from 0 on, and a `mark` made of user and number, in its
    properties or traits; a command has them as merge data. With `gaps`, who sends may be killed: a number may be
    missing, and a second copy, which may be read long after its sender gave it up, says nothing of what the client
    knew. All times are the server's, in seconds.
    """

    def __init__(self, gaps: bool = False) -> None:
        self.copies = 0
        self.lost = 0
        self.commands = 0
        self.least_settle: float | None = None
        self.violations: Counter[str] = Counter()
        self.examples: list[str] = []
        self.timestamps = ("9", "")
        """The first and the last of all that arrived."""
        self._gaps = gaps
        self._digests: dict[str, int] = {}
        self._unanswered: dict[str, str] = {}
        """Events without a whole acknowledgement: "answering" or "lost"."""
        self._due: dict[str, int] = {}
        """The number of each user's next event."""
        self._identified: dict[str, float | None] = {}
        """When each user's last identify was acknowledged; None: it is not yet."""
        self._not_before: dict[str, float] = {}

    @property
    def ids(self) -> list[str]:
        return list(self._digests)

    def violation(self, kind: str, detail: str = "") -> None:
        self.violations[kind] += 1
        if self.violations[kind] <= 3:
            self.examples.append(f"{kind}: {detail}" if detail else kind)

    def arrived(self, messages: list[Message], now: float) -> None:
        """A request has come, whatever will become of it."""
        identified = set()
        for message in messages:
            if self._not_before and self._not_before.pop(message.id, 0) > now + CLOCK:
                self.violation("sent again before Retry-After allows", message.id)
            if message.action == "identify":
                identified.add(message.user)
            if message.command and not (self._gaps and message.id in self._digests):
                self._check_settled(message, None if message.user in identified else now)

    def turned_away(self, messages: list[Message], not_before: float) -> None:
        """A request got 429 and may come again at `not_before`."""
        for message in messages:
            self._not_before[message.id] = not_before

    def stored(self, messages: list[Message]) -> None:
        """A request's events are kept; its answer follows."""
        for message in messages:
            self._store(message)

    def answered(self, messages: list[Message], whole: bool, now: float) -> None:
        """What was stored was acknowledged by a whole 2xx answer, or the acknowledgement was lost on the way."""
        for message in messages:
            if not whole:
                self.lost += 1
                self._unanswered[message.id] = "lost"
                continue
            self._unanswered.pop(message.id, None)
            if message.action == "identify" and not (self._gaps and self._identified.get(message.user) is not None):
                self._identified[message.user] = now

    def _store(self, message: Message) -> None:
        self.copies += 1
        state = self._unanswered.get(message.id, "acknowledged")
        self._unanswered[message.id] = "answering"
        if message.action == "identify" and not (self._gaps and message.id in self._digests):
            self._identified[message.user] = None
        if message.id in self._digests:
            if state != "lost":
                self.violation("a second copy without need", f"{message.id} (the first: {state})")
            if self._digests[message.id] != message.digest:
                self.violation("a second copy with other content", message.id)
            return
        self._digests[message.id] = message.digest
        timestamp = message.fields["timestamp"]
        self.timestamps = min(self.timestamps[0], timestamp), max(self.timestamps[1], timestamp)
        self._check_order(message)

    def _check_order(self, message: Message) -> None:
        source: dict[str, Any] = message.fields
        for field in ("traits", "properties"):
            source = message.fields.get(field, source)
        number, mark = source.get("n"), source.get("mark")
        if not isinstance(number, int) or mark != f"{message.user}/{number}/é😀":
            self.violation("other content than was sent", message.id)
            return
        due = self._due.get(message.user, 0)
        if number < due or (number > due and not self._gaps):
            self.violation("out of order", f"{message.user}: {number} where {due} was due")
        self._due[message.user] = max(due, number + 1)

    def _check_settled(self, message: Message, now: float | None) -> None:
        self.commands += 1
        if self._gaps and message.user not in self._identified:
            return  # the call that would have identified it raised
        acknowledged = self._identified.get(message.user)
        if acknowledged is None or now is None:  # or both are in one request
            self.violation("a command before its user's identify was acknowledged", message.id)
            return
        waited = now - acknowledged
        self.least_settle = min(waited, self.least_settle or waited)
        if waited < SETTLE - CLOCK:
            self.violation("a command too soon after identify", f"{message.id}: {waited * 1000:.1f} ms")
