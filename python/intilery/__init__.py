"""Client for the Intilery event API: hand an event over and go on.

It reaches Intilery, in order, at the rate that the account allows, or you are told why not.

    from intilery import Client

    with Client(client_id="hea", account_id="hea", brand_id="HEA", auth_token=token) as client:
        client.track("ABC/123", "Order Completed", {"revenue": 30.5})
"""

from typing import TYPE_CHECKING

from . import _native
from ._client import AsyncClient, Client
from ._errors import (
    AuthError,
    ClosedError,
    ConfigurationError,
    DeliveryError,
    IntileryError,
    QueueFullError,
    SpoolError,
    TimeoutError,
    ValidationError,
    Violation,
)
from ._native import Delivery
from ._native import version as __version__
from ._results import Flush, Receipt, Sent, SourceVerification, Stats, Verification

if _native.lacks_certificates():  # a system without ca-certificates
    try:
        import certifi
    except ImportError:
        pass  # the first request says what was looked for
    else:
        _native.set_certificates(certifi.contents())

if TYPE_CHECKING:
    from ._diagnose import Check, diagnose
    from ._options import Options
    from ._reading import Event, Profile

__all__ = [
    "AsyncClient",
    "AuthError",
    "Check",
    "Client",
    "ClosedError",
    "ConfigurationError",
    "Delivery",
    "DeliveryError",
    "Event",
    "Flush",
    "IntileryError",
    "Options",
    "Profile",
    "QueueFullError",
    "Receipt",
    "Sent",
    "SourceVerification",
    "SpoolError",
    "Stats",
    "TimeoutError",
    "ValidationError",
    "Verification",
    "Violation",
    "__version__",
    "diagnose",
]


def __getattr__(name: str) -> object:
    """Imports on demand what most programs do not name."""
    from importlib import import_module

    for module, names in (
        ("_diagnose", ("Check", "diagnose")),
        ("_options", ("Options",)),
        ("_reading", ("Event", "Profile")),
    ):
        if name in names:
            return globals().setdefault(name, getattr(import_module(f"{__name__}.{module}"), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
