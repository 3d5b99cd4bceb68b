"""Tests of ``snipjit/runtime/compile_threads.py``: who does the work, and who does it after all."""

from __future__ import annotations

import os
import threading
from functools import partial

import pytest

from snipjit.errors import VerificationError
from snipjit.runtime.compile_threads import compile_threads


def work(of: int, names: set[str]) -> bytes:
    names.add(threading.current_thread().name)
    return bytes([of])


@pytest.mark.parametrize("count", [1, 2, 20])
def test_each_gets_what_it_began(count: int) -> None:
    names: set[str] = set()
    with compile_threads(count) as run:
        ends = [run(partial(work, of, names)) for of in range(9)]
        assert not names  # nothing begins before it is waited for
        assert [end() for end in ends[::-1]] == [bytes([of]) for of in range(9)][::-1]
        assert run(partial(work, 9, names))() == bytes([9])
    assert names == ({"MainThread"} if count == 1 else {"snipjit"})


def test_who_waits_gets_the_error() -> None:
    def fail() -> bytes:
        raise VerificationError("no text")

    with compile_threads(2) as run:
        good, bad = run(lambda: b"good"), run(fail)
        with pytest.raises(VerificationError, match="no text"):
            bad()
        assert good() == b"good"


def test_a_child_does_the_work_itself() -> None:
    with compile_threads(2) as run:
        ends = [run(lambda: b"made") for _ in range(3)]
        ends[0]()
        child = os.fork()
        if not child:
            os._exit(0 if [end() for end in ends] == [b"made"] * 3 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
