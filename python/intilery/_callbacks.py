"""The thread that calls a program's callbacks and writes the log."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Callable

from . import _native

if TYPE_CHECKING:
    import asyncio

TURN = 0.001
"""Seconds of an event loop's turn that callbacks may take, if there are many."""


class LoopHolder:
    """The event loop in which an AsyncClient's callbacks run, once it is known. A Client has none."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._due: deque[tuple[Any, Any]] = deque()
        self._awaits_turn = False

    def run(self, batch: list[tuple[Any, Any]]) -> None:
        """Calls back in the loop, or here if there is none. On the callback thread."""
        self._due.extend(batch)
        if self.loop is not None and not self.loop.is_closed():
            if self._awaits_turn:
                return
            self._awaits_turn = True
            try:
                self.loop.call_soon_threadsafe(self._turn)
                return
            except RuntimeError:  # closed in between
                pass
        while self._due:
            _call(*self._due.popleft())

    def _turn(self) -> None:
        assert self.loop is not None
        self._awaits_turn = False
        end = time.monotonic() + TURN
        try:
            while self._due and time.monotonic() < end:
                _call(*self._due.popleft())
        finally:  # a callback may end the program, and the program think better of it
            if self._due and not self._awaits_turn:
                self._awaits_turn = True
                self.loop.call_soon(self._turn)

    async def idle(self) -> None:
        """Waits for the callbacks that are due, if they run in this loop."""
        import asyncio

        while self.loop is asyncio.get_running_loop() and self._due:
            await asyncio.sleep(0)


def _call(what: Any, argument: Any) -> None:
    if isinstance(what, int):
        _log(what, argument)
        return
    try:
        what(argument)
    except Exception:
        import logging

        logging.getLogger("intilery").exception("a callback raised")


def _log(level: int, line: str) -> None:
    """Writes a line of the core's LogLevel."""
    if "logging" not in sys.modules:
        # What logging does that nobody has set up; without it, which takes longer to import than this package, and at
        # the program's end would change the exit status of Ctrl-C.
        if level >= 2 and sys.stderr is not None:
            print(line, file=sys.stderr)
        return
    import logging

    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    logging.getLogger("intilery").log(levels[level], "%s", line)


def _serve(queue: _native.CallbackQueue, run: Callable[[list[tuple[Any, Any]]], None]) -> None:
    while (batch := queue.pop()) is not None:
        if batch:
            run(batch)


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
