"""Private names of torch, each with what is done where a version has it no more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import ExportedProgram


def guards_code(exported: ExportedProgram) -> list[str]:
    """Conditions on the inputs' sizes, as Python text; none where torch does not keep them."""
    return list(getattr(exported, "_guards_code", ()))


def guard_functions() -> Mapping[str, Any]:
    """The functions that conditions call; a condition that calls another one is not checked."""
    try:
        from torch.fx.experimental.symbolic_shapes import SYMPY_INTERP
    except ImportError:
        return {}
    return SYMPY_INTERP


@contextmanager
def uncompiled(model: torch.nn.Module) -> Iterator[None]:
    """Meanwhile a model's modules are called as written, though they were compiled in place.

    ``module.compile()`` leaves a compiled call on a module; ``torch.compile(module.forward)``, put
    in the place of the method, remembers what it compiled. Where a version of torch does it in
    another way, nothing is changed.
    """
    changed: list[tuple[torch.nn.Module, str, Any]] = []

    def put(module: torch.nn.Module, name: str, value: Any) -> None:
        changed.append((module, name, vars(module)[name]))
        setattr(module, name, value)

    try:
        for module in model.modules():
            if vars(module).get("_compiled_call_impl") is not None:
                put(module, "_compiled_call_impl", None)
            forward = vars(module).get("forward")
            if (original := getattr(forward, "_torchdynamo_orig_callable", None)) is not None:
                put(module, "forward", original)
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)


def frame_under_compilation() -> int | None:
    """A number for the function that Dynamo compiles on this thread; None where none can be had."""
    try:
        from torch._guards import CompileContext
    except ImportError:
        return None
    compile_id = CompileContext.current_compile_id()
    return None if compile_id is None else compile_id.frame_id


class _RecompileLimit(logging.Filter):
    """Sees the warning with which Dynamo gives a function up."""

    def __init__(self, notice: Callable[[], None]) -> None:
        super().__init__()
        self._notice = notice

    def filter(self, record: logging.LogRecord) -> bool:
        if "hit config." in str(record.msg) and "recompile_limit" in record.getMessage():
            self._notice()
        return True


def on_recompile_limit(notice: Callable[[], None]) -> None:
    """Call ``notice`` whenever Dynamo says that it makes no more graphs of a function."""
    logging.getLogger("torch._dynamo.convert_frame").addFilter(_RecompileLimit(notice))
