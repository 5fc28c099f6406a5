"""No client ends in silence: at exit, and when it is dropped, what it holds is sent, up to `exit_timeout`."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from . import _native

if TYPE_CHECKING:
    from ._client import _Base

_open: weakref.WeakSet[_Base] = weakref.WeakSet()


def opened(client: _Base) -> None:
    _open.add(client)


def closed(client: _Base) -> None:
    _open.discard(client)


def dropped(client: _Base) -> None:
    """Closes a client that nobody holds any more, on a thread that does not keep others waiting."""
    if sys.is_finalizing() or _native.is_foreign(client):
        return
    thread = threading.Thread(target=client._finish, args=(_native.exit_timeout(client),), name="intilery-close")
    try:
        thread.start()
    except RuntimeError:  # the interpreter is on its way out and starts no threads
        client._finish(_native.exit_timeout(client))


@atexit.register
def _close_all() -> None:
    started = time.monotonic()
    for client in list(_open):
        if not _native.is_foreign(client):
            left = _native.exit_timeout(client) - (time.monotonic() - started)
            client._finish(max(0.0, left))
