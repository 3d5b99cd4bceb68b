"""Private names of torch, in one place, each with what is done where a version has it no more.

Tested with torch from ``LOWEST`` to ``HIGHEST``. A test keeps private names out of
other modules.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import fx
from torch.export import ExportedProgram

LOWEST, HIGHEST = (2, 11), (2, 15)
"""The versions, major and minor, with which the tests have passed; setup.py accepts these."""


@cache
def check_version() -> None:
    """Warn once where torch is newer than any version that was tested."""
    numbers = torch.__version__.split("+")[0].split(".")[:2]
    with contextlib.suppress(ValueError):
        if tuple(map(int, numbers)) > HIGHEST:
            warnings.warn(
                f"torch {torch.__version__} is newer than any that snipjit was tested with (up to "
                f"{HIGHEST[0]}.{HIGHEST[1]})",
                stacklevel=3,
            )


def _named(path: str, default: Any = None) -> Any:
    """What a dotted name below torch stands for; the default where there is no such thing."""
    found: Any = torch
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except (AttributeError, RuntimeError):
            return default
    return found


class _Nothing:
    """Stands for a function that torch has no more: no node calls it."""


pytree: Any = torch.utils._pytree
"""Nested arguments and results, taken apart as torch.export does it."""

# Targets of nodes
SET_GRAD_ENABLED: Any = _named("_C._set_grad_enabled", _Nothing())
"""What a Dynamo graph calls where a model changes the grad mode."""
ENTER_AUTOCAST: Any = _named("amp.autocast_mode._enter_autocast", _Nothing())
EXIT_AUTOCAST: Any = _named("amp.autocast_mode._exit_autocast", _Nothing())
AUTOCAST_REGION: Any = _named("ops.higher_order.wrap_with_autocast", _Nothing())
CHECKPOINT: Any = _named("ops.higher_order.tag_activation_checkpoint", _Nothing())
BRANCHES = tuple(
    target
    for name in ("cond", "while_loop", "invoke_subgraph")
    if (target := _named(f"ops.higher_order.{name}")) is not None
)
"""Calls of graphs inside the graph that run as they stand where nothing needs gradients."""
ENCODER_LAYER: Any = _named("_transformer_encoder_layer_fwd", _Nothing())
ENCODER_LAYER_OVERLOAD: Any = _named("ops.aten._transformer_encoder_layer_fwd.default", _Nothing())
ASSERT_METADATA: Any = _named("ops.aten._assert_tensor_metadata.default", _Nothing())
PAD: Any = _named("_C._nn.pad", torch.nn.functional.pad)
"""What Dynamo makes of ``F.pad``."""
OPERATORS = tuple(home for home in map(_named, ("ops.aten", "ops.prims")) if home is not None)
"""The libraries of ATen's operations."""
OpOverload: Any = type(torch.ops.aten.add.Tensor)


def schema_arguments(overload: Any) -> Sequence[Any]:
    """The arguments of an ATen operation: ``name``, ``default_value``, ``alias_info``."""
    return cast(Sequence[Any], overload._schema.arguments)


def has_meta_kernel(operation: str) -> bool:
    """Whether torch can trace an ATen operation; if nobody knows, it can."""
    return _has_kernel(f"aten::{operation}", "Meta") is not False


def _has_kernel(operation: str, key: str) -> bool | None:
    """Whether an operation has a kernel of its own for a dispatch key; None if nobody knows."""
    asked = _named("_C._dispatch_has_kernel_for_dispatch_key")
    return None if asked is None else bool(asked(operation, key))


def is_composite_under_autocast(target: Any) -> bool:
    """Whether a function is an ATen operation made of others, of which autocast knows those alone.

    Views and what works in place are not counted: they have no result to take another type.
    """
    if not isinstance(target, OpOverload) or target.is_view or target._schema.is_mutable:
        return False
    return target._can_decompose() and not _has_kernel(target.name(), "AutocastCPU")


# Values that tracing leaves on nodes


def python_dispatcher() -> AbstractContextManager[None]:
    """Under it functions on fake tensors keep symbolic sizes."""
    try:
        from torch._dispatch.python import enable_python_dispatcher
    except ImportError:
        return contextlib.nullcontext()
    return cast(AbstractContextManager[None], enable_python_dispatcher())


def real_tensors() -> AbstractContextManager[Any]:
    """Under it new tensors hold numbers, though a graph is being traced."""
    try:
        from torch._subclasses.fake_tensor import unset_fake_temporarily
    except ImportError:
        return contextlib.nullcontext()
    return cast(AbstractContextManager[Any], unset_fake_temporarily())


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether a traced tensor stands for one of torch's own class and not of a subclass."""
    kinds: tuple[Any, ...] = (torch.Tensor, torch.nn.Parameter, _named("nn.Buffer"))
    return type(tensor) in kinds or type(tensor) is _fake_tensor_class()


def dispatches(tensor: torch.Tensor) -> bool:
    """Whether a subclass decides itself what operations do with it, whatever its memory holds."""
    own = getattr(type(tensor), "__torch_dispatch__", None)
    return own is not getattr(torch.Tensor, "__torch_dispatch__", None)


@cache
def _fake_tensor_class() -> Any:
    try:
        from torch._subclasses.fake_tensor import FakeTensor
    except ImportError:
        return None
    return FakeTensor


def is_wrapped(tensor: torch.Tensor) -> bool:
    """Whether a tensor belongs to a transform of torch.func, which works on what it wraps."""
    asked = _named("_C._functorch.is_functorch_wrapped_tensor")
    return asked is not None and bool(asked(tensor))


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that a transform of torch.func has wrapped."""
    return torch._C._functorch.get_unwrapped(tensor)


def storage_identity(tensor: torch.Tensor) -> int:
    """A number that the views of a tensor share; a fake tensor has no address."""
    storage = tensor.untyped_storage()
    return int(getattr(storage, "_cdata", None) or storage.data_ptr())


def statically_true(condition: Any) -> bool:
    """Whether a condition on symbolic sizes holds for all of them; adds no guard."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return bool(statically_known_true(condition))


def equal_if_divided_evenly(left: Any, right: Any) -> bool:
    """Whether two sizes are equal wherever what they divide has no remainder."""
    floor = _named("utils._sympy.functions.FloorDiv", _Nothing)
    whole = [size if isinstance(size, int) else expression(size) for size in (left, right)]
    whole = [s if isinstance(s, int) else s.replace(floor, lambda a, b: a / b) for s in whole]
    return bool(whole[0] == whole[1])


def true_or_false(condition: Any) -> bool:
    """Whether a condition holds in this trace, which is specialised to it; False if unknown."""
    from torch.fx.experimental.symbolic_shapes import guard_or_false

    return bool(guard_or_false(condition))


def expression(size: torch.SymInt | torch.SymFloat) -> Any:
    """The sympy expression of a symbolic number."""
    return size.node.expr


def traced_number(size: torch.SymInt | torch.SymFloat) -> Any:
    """The number that a symbolic one was while tracing; None if nothing was known of it."""
    return size.node.hint if size.node.has_hint() else None


def as_int(size: torch.SymInt) -> int | None:
    """The int that a symbolic one always is; None if it changes."""
    return cast("int | None", size.node.maybe_as_int())


# Calls

forward_ad: Any = torch.autograd.forward_ad
IN_FORWARD_AD = (
    "forward_ad._current_level >= 0" if hasattr(forward_ad, "_current_level") else "False"
)
"""Whether forward-mode differentiation is under way, as Python text for the call path."""


def _empty_strided(
    shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype
) -> torch.Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device="cpu")


empty_strided: Any = _named("_C._dynamo.guards._empty_strided_cpu", _empty_strided)
"""The allocation that Inductor's wrappers use: half the time of ``torch.empty_strided``."""


def compile_by_inductor(gm: fx.GraphModule, examples: Sequence[Any]) -> Callable[..., Any]:
    """A graph compiled by Inductor."""
    compiler: Any
    try:
        from torch._inductor.compile_fx import compile_fx as compiler
    except ImportError:
        from torch._dynamo import lookup_backend

        compiler = lookup_backend("inductor")
    return cast(Callable[..., Any], compiler(gm, list(examples)))


# Exported programs


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


def with_graph(exported: ExportedProgram, gm: fx.GraphModule) -> ExportedProgram:
    """A program with another graph of the same inputs and outputs, and the same weights."""
    return exported._update(gm, exported.graph_signature)


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
