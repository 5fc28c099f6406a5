"""The thread that calls a program's callbacks and writes the log."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any, Callable

from . import _native

log = logging.getLogger("intilery")

_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)  # the core's LogLevel


class LoopHolder:
    """The event loop in which an AsyncClient's callbacks run, once it is known."""

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


def start(queue: _native.CallbackQueue, loop: LoopHolder | None) -> threading.Thread:
    """Starts the thread. It holds the queue and not the client, and ends with the client."""
    run = loop.run if loop is not None else lambda work: work()
    thread = threading.Thread(target=_serve, args=(queue, run), name="intilery-callbacks", daemon=True)
    thread.start()
    return thread
