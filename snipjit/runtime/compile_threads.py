"""Threads that compile: LLVM works without Python's lock, so that two kernels take the time of one.

A fork waits until no thread is inside LLVM, whose locks a child would find taken. (It waits for
``host.LOCK`` too; but a signal handler may fork on the very thread that holds that one. For its
sake these are plain threads: those of an executor have a lock that a fork takes.)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from snipjit.errors import VerificationError
from snipjit.runtime.host import at_fork

Work = Callable[[], bytes]
Run = Callable[[Work], Work]
"""Begins some work; what it returns ends it."""

PATIENCE = 0.5
"""Seconds after which whoever waits looks whether the process is still the same one."""

MOST = 8
"""Threads at most."""

_INSIDE = threading.Semaphore(MOST)


def at_once(work: Work) -> Work:
    """Has work done by the thread that waits for it."""
    return work


@contextmanager
def compile_threads(count: int) -> Iterator[Run]:
    """So many threads, ended when their work is; of one only, the waiting thread works.

    They begin when the first of the work is waited for. Until then more may be found for them by
    Python, which beside LLVM is slower: both ask the system for memory.
    """
    if count < 2:
        yield at_once
        return
    crew = _Crew(min(count, MOST))
    try:
        yield crew.add
    finally:
        crew.end()


@dataclass(eq=False)
class _Task:
    """Work, and what comes of it on another thread; an error is for who waits to meet again."""

    work: Work
    done: threading.Event = field(default_factory=threading.Event)
    made: bytes = b""

    def run(self) -> None:
        with _INSIDE, suppress(VerificationError):
            self.made = self.work()
            self.done.set()


@dataclass
class _Crew:
    """Threads that take tasks from a list until it is empty."""

    size: int
    process: int = field(default_factory=os.getpid)
    waiting: list[_Task] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def add(self, work: Work) -> Work:
        """Put work on the list."""
        task = _Task(work)
        self.waiting.append(task)
        return lambda: self.result(task)

    def result(self, task: _Task) -> bytes:
        """What a thread makes of a task.

        It is done here where no thread does it: in a child of the process, while the interpreter is
        ending, or after an error.
        """
        while os.getpid() == self.process and (self.begin() or task.done.is_set()):
            if task.done.wait(PATIENCE):
                return task.made
        return task.work()

    def begin(self) -> bool:
        """Start threads, if there is something to do; whether there are any."""
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        with suppress(RuntimeError):  # the interpreter is ending
            while self.waiting and len(self.threads) < self.size:
                self.threads.append(threading.Thread(target=self.take, name="snipjit"))
                self.threads[-1].start()
        return any(thread.is_alive() for thread in self.threads)

    def take(self) -> None:
        """Do tasks until none is left."""
        while True:
            try:
                task = self.waiting.pop(0)
            except IndexError:
                return
            task.run()

    def end(self) -> None:
        """Wait for what has begun."""
        self.waiting.clear()
        for thread in self.threads if os.getpid() == self.process else ():
            if thread.is_alive():
                thread.join()


def _stop() -> None:
    for _ in range(MOST):
        _INSIDE.acquire()


def _go() -> None:
    _INSIDE.release(MOST)


at_fork(before=_stop, after_in_parent=_go, after_in_child=_go)
