"""What is called while a model is compiled and run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import torch
from torch import fx

from snipjit.torch_private.names import named

forward_ad: Any = torch.autograd.forward_ad
IN_FORWARD_AD = (
    "forward_ad._current_level >= 0" if hasattr(forward_ad, "_current_level") else "False"
)
"""Whether forward-mode differentiation is under way, as Python text for the call path."""


def in_forward_ad() -> bool:
    """Whether forward-mode differentiation is under way."""
    return bool(getattr(forward_ad, "_current_level", -1) >= 0)


profiler: Any = torch.autograd.profiler
PROFILING = (
    "profiler._is_profiler_enabled" if hasattr(profiler, "_is_profiler_enabled") else "False"
)
"""Whether a profiler runs, as Python text for the call path: to ask a function takes five times as
long."""


def recorded(name: str, tensors: Sequence[Any]) -> AbstractContextManager[Any]:
    """Under it profilers show a name, and the shapes of tensors with it if they are told to."""
    record: Any = named("_C._profiler._RecordFunctionFast", None)
    if record is None:
        return torch.profiler.record_function(name)
    return cast(AbstractContextManager[Any], record(name, tensors))


def _empty_strided(
    shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype
) -> torch.Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device="cpu")


empty_strided: Any = named("_C._dynamo.guards._empty_strided_cpu", _empty_strided)
"""The allocation that Inductor's wrappers use: half the time of ``torch.empty_strided``."""


def layout_check(tensors: Sequence[torch.Tensor]) -> Callable[..., bool]:
    """Whether tensors are of the types, dtypes, devices, shapes and strides of these.

    It may say no to some that are: where one is given twice, or computes gradients as none of these
    does. The guards of Dynamo are asked, one call for all; without them it always says no.
    """
    guards: Any = named("_C._dynamo.guards.TensorGuards", None)
    if guards is None:
        return lambda *_: False
    sizes, strides = [[*t.shape] for t in tensors], [[*t.stride()] for t in tensors]
    made = guards(*tensors, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides)
    check: Callable[..., bool] = made.check
    return check


def compile_by_inductor(gm: fx.GraphModule, examples: Sequence[Any]) -> Callable[..., Any]:
    """A graph compiled by Inductor."""
    compiler: Any
    try:
        from torch._inductor.compile_fx import compile_fx as compiler
    except ImportError:
        from torch._dynamo import lookup_backend

        compiler = lookup_backend("inductor")
    _forget_sizes_of_expressions(examples)
    return cast(Callable[..., Any], compiler(gm, list(examples)))


def _forget_sizes_of_expressions(examples: Sequence[Any]) -> None:
    """Of what symbols were when a program was exported, keep that of symbols.

    Programs from files have that of sizes such as ``64*s53`` too, over which torch 2.13 stumbles.
    """
    for example in examples:
        sizes = getattr(getattr(example, "fake_mode", None), "shape_env", None)
        known = getattr(sizes, "backed_var_to_val", None)
        if isinstance(known, dict):
            for size in [size for size in known if not getattr(size, "is_Symbol", True)]:
                del known[size]


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


def recompile_reason() -> str | None:
    """Why Dynamo compiles a function again, on this thread; None for the first time, or unknown."""
    try:
        from torch._dynamo.utils import get_metrics_context
    except ImportError:
        return None
    told = getattr(get_metrics_context(), "_metrics", {}).get("recompile_reason")
    return None if told is None else str(told)


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
