"""What stands between a client and the service."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from . import _native

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import Options


class Check(NamedTuple):
    """What one look showed. Never holds the token, nor a password."""

    name: str
    """`options`, `library`, `open_files`, `spool`, `rate_limit_store`, `proxy`, `address`, `connection`, `tls`,
    `token`, `batch`, `clock`; always all, in this order."""
    result: Literal["ok", "warning", "failed", "skipped"]
    message: str
    advice: str
    """What to do; may be empty."""


def diagnose(**options: Unpack[Options]) -> list[Check]:
    """Looks whether a client could deliver: address, TLS, token, clock, limits, spool.

    On connections of its own, and without sending an event: it reads one event back, and posts an empty batch. Takes at
    most half a minute; Ctrl-C ends it.

    Args:
        **options: As a client's, over those in the environment (`Client.from_env()`).

    Raises:
        ConfigurationError: An option cannot be read.
    """
    given: dict[str, Any] = {
        name: value.total_seconds() if isinstance(value, datetime.timedelta) else value
        for name, value in options.items()
        if name not in ("default", "before_send", "on_error")  # functions are called for events only
    }
    return [Check(*cast("Any", found)) for found in _native.diagnose(given)]
