"""What can go wrong.

    IntileryError
     ├─ ConfigurationError   an option is missing or makes no sense
     ├─ ValidationError      an event breaks the contract: `code`, `path` (also a ValueError)
     ├─ QueueFullError       more waits than `max_queue_bytes`
     ├─ ClosedError          the client was closed before the call
     ├─ DeliveryError        the event was accepted and will not be sent (again): `reason`, `arrived` …
     │   └─ AuthError        … because the token has no rights
     ├─ TimeoutError         a wait ended before what it waited for; nothing is lost (also the built-in TimeoutError)
     └─ SpoolError           the spool cannot be opened, or an event not be written there

No message ever shows the token, nor what an event holds. All can be pickled.
"""

from __future__ import annotations

import builtins
from typing import Literal, NamedTuple


class Violation(NamedTuple):
    """One rule of the tracking plan that an event breaks."""

    code: str
    path: str
    """The culprit, such as `properties.products[3].price`."""
    rule: str
    """Where the rule stands in the plan: a JSON pointer."""
    message: str
    """What is wrong; never what the event holds."""


class IntileryError(Exception):
    """Base of all errors of this library.

    Attributes:
        code: Stable name of the mistake; docs/errors.md has them all.
        message_id: The id of the event that failed, where there is one.
    """

    message_id = ""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore, (type(self), str(self), self.__dict__.copy()))


class ConfigurationError(IntileryError):
    """An option is missing or makes no sense.

    Attributes:
        option: Its name.
    """

    def __init__(self, message: str, *, code: str = "", option: str = "") -> None:
        super().__init__(message, code=code)
        self.option = option


class ValidationError(IntileryError, ValueError):
    """An event breaks the contract; nothing of it was accepted.

    Attributes:
        path: The culprit, such as `properties.products[3].price`.
        row: Of `send_many`: the number of the source's row, from 1; else 0.
        errors: All that breaks the tracking plan, of which `code` and `path` tell the first; empty for another mistake.
    """

    row = 0

    def __init__(self, message: str, *, code: str = "", path: str = "", errors: list[Violation] | None = None) -> None:
        super().__init__(message, code=code)
        self.path = path
        self.errors = errors or []


class QueueFullError(IntileryError):
    """More waits than `max_queue_bytes` allows."""


class ClosedError(IntileryError):
    """The client was closed before the call."""


class DeliveryError(IntileryError):
    """An accepted event will not be sent (again).

    Attributes:
        reason: Why; the same as `code`.
        arrived: Whether Intilery has it: "no", or "unknown" (it was sent, and never answered).
        status: The last HTTP status; 0: no answer.
        body: The server's last answer, cut to 2 kB.
        attempts: Requests that carried the event.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        arrived: Literal["no", "unknown"] = "no",
        status: int = 0,
        body: str = "",
        attempts: int = 0,
        message_id: str = "",
    ) -> None:
        super().__init__(message, code=code)
        self.arrived = arrived
        self.status = status
        self.body = body
        self.attempts = attempts
        self.message_id = message_id

    @property
    def reason(self) -> str:
        return self.code


class AuthError(DeliveryError):
    """An accepted event was given up because the token has no rights."""


class TimeoutError(IntileryError, builtins.TimeoutError):
    """A wait ended before what it waited for. Nothing is lost: delivery goes on."""


class SpoolError(IntileryError):
    """The spool cannot be opened, or an event not be written there; then it was not accepted."""


def _restore(cls: type[IntileryError], message: str, attributes: dict[str, object]) -> IntileryError:
    error = cls(message)
    error.__dict__.update(attributes)
    return error


def make_error(
    kind: int,
    code: str,
    message: str,
    path: str,
    arrived: Literal["no", "unknown"],
    status: int,
    body: str,
    attempts: int,
    message_id: str,
    violations: list[tuple[str, str, str, str]],
) -> IntileryError:
    """Makes the error of a core's ErrorInfo; `kind` counts through the core's ErrorKind."""
    error: IntileryError
    if kind == 0:
        error = ConfigurationError(message, code=code, option=path)
    elif kind == 1:
        error = ValidationError(message, code=code, path=path, errors=[Violation(*each) for each in violations])
    elif kind in (4, 5):
        cls = DeliveryError if kind == 4 else AuthError
        error = cls(message, code=code, arrived=arrived, status=status, body=body, attempts=attempts)
    else:
        error = {2: QueueFullError, 3: ClosedError, 6: TimeoutError, 7: SpoolError}[kind](message, code=code)
    error.message_id = message_id
    return error
