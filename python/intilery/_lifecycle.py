"""No client ends in silence: at exit, and when it is dropped, what it holds is sent, up to `exit_timeout`."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

from . import _native

if TYPE_CHECKING:
    from ._client import _Base

_open: weakref.WeakSet[_Base] = weakref.WeakSet()
_prepared_process = 0


def opened(client: _Base) -> None:
    _open.add(client)
    _prepare_hard_exit()


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


def _prepare_hard_exit() -> None:
    """Sees to it that clients are closed in a process that will end by `os._exit`, without atexit."""
    global _prepared_process
    if _prepared_process == os.getpid():
        return
    _prepared_process = os.getpid()
    # The children of multiprocessing, and of billiard, which is Celery's, run their finalizers before.
    for package in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{package}.process"), sys.modules.get(f"{package}.util")
        if process is None or util is None:
            continue
        finalize = partial(util.Finalize, None, _close_all, exitpriority=-100)  # after the program's own
        if getattr(process.current_process(), "_parent_pid", None) is not None:
            finalize()
        else:  # perhaps a child that is only about to begin: then it forgets its finalizers, and runs this
            util.register_after_fork(_close_all, lambda _, finalize=finalize: finalize())
    # The workers of Celery's pool do not even that.
    if (signals := sys.modules.get("celery.signals")) is not None:
        signals.worker_process_shutdown.connect(_close_all, weak=False)


@atexit.register
def _close_all(**_: object) -> None:
    started = time.monotonic()
    for client in list(_open):
        if not _native.is_foreign(client):
            left = _native.exit_timeout(client) - (time.monotonic() - started)
            client._finish(max(0.0, left))
