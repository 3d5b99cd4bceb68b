"""Ahead: the kernels that the next call will ask for are compiled together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from snipjit.errors import UnsupportedError
from snipjit.runtime.collection import collection_paused
from snipjit.runtime.compile_threads import compile_threads
from snipjit.runtime.host import LOCK
from snipjit.runtime.interface import Shapes
from snipjit.runtime.progress import shown
from snipjit.runtime.structure import Structure
from snipjit.runtime.threads import thread_count


def expect(calls: Mapping[Structure, Shapes]) -> None:
    """Have whichever structure first needs a kernel compile what calls of all will ask for.

    Not before that call: while Dynamo traces Python runs at half its speed.
    """
    for structure in calls:
        structure.ahead = partial(compile_ahead, calls)


def compile_ahead(expected: Mapping[Structure, Shapes]) -> None:
    """Compile what calls of structures with some input shapes will ask for.

    Python writes all of them first, and then LLVM works on as many threads as torch has.
    """
    for structure in expected:
        structure.ahead = None
    with LOCK, collection_paused(), compile_threads(thread_count()) as run:
        calls = shown(expected.items(), "writing kernel")
        begun = [structure.begin_for(shapes, run) for structure, shapes in calls]
        for finish in shown(begun, "compiling kernel"):
            with suppress(UnsupportedError):  # which its call will find
                finish()
