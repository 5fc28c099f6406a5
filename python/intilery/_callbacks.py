"""The thread that calls a program's callbacks and writes the log."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any, Callable

from . import _native

log = logging.getLogger("intilery")

_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)  # the core's LogLevel


class LoopHolder:
    """The event loop in which an AsyncClient's callbacks run, once it is known. A Client has none."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Callable[[], None]) -> None:
        if self.loop is not None and not self.loop.is_closed():
            try:
                self.loop.call_soon_threadsafe(work)
                return
            except RuntimeError:  # closed in between
                pass
        work()


def _call(function: Callable[[Any], object], argument: object) -> None:
    try:
        function(argument)
    except Exception:
        log.exception("a callback raised")


def _serve(queue: _native.CallbackQueue, run: Callable[[Callable[[], None]], None]) -> None:
    def handle(batch: list[tuple[Any, Any]]) -> None:
        for what, argument in batch:
            if isinstance(what, int):
                log.log(_LEVELS[what], "%s", argument)
            else:
                _call(what, argument)

    while (batch := queue.pop()) is not None:
        run(lambda batch=batch: handle(batch))  # type: ignore[misc]


class SystemThread:
    """A thread where gevent makes greenlets of Python's: this one blocks, and so would block them all."""

    def __init__(self, gevent: Any, work: Callable[..., None], *args: object) -> None:
        names = ["start_new_thread", "allocate_lock", "get_ident"]
        start_new_thread, allocate_lock, self._current = gevent.get_original("_thread", names)
        self._running = allocate_lock()
        self._running.acquire()
        self._ident = start_new_thread(self._run, (work, args))

    def _run(self, work: Callable[..., None], args: tuple[object, ...]) -> None:
        try:
            work(*args)
        finally:
            self._running.release()

    def join(self, timeout: float) -> None:
        if self._current() != self._ident and self._running.acquire(timeout=timeout):
            self._running.release()


def start(queue: _native.CallbackQueue, loop: LoopHolder) -> threading.Thread | SystemThread:
    """Starts the thread. It holds the queue and not the client, and ends with the client."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return SystemThread(gevent, _serve, queue, loop.run)
    thread = threading.Thread(target=_serve, args=(queue, loop.run), name="intilery-callbacks", daemon=True)
    thread.start()
    return thread
