"""Values that tracing leaves on nodes: fake tensors, symbolic numbers, transforms."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, cast

import torch

from snipjit.torch_private.names import Nothing, named


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
    kinds: tuple[Any, ...] = (torch.Tensor, torch.nn.Parameter, named("nn.Buffer"))
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
    asked = named("_C._functorch.is_functorch_wrapped_tensor")
    return asked is not None and bool(asked(tensor))


def unwrapped(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that a transform of torch.func has wrapped."""
    return torch._C._functorch.get_unwrapped(tensor)


def is_modules_own(meta: Mapping[str, Any]) -> bool:
    """Whether Dynamo tells of an input that it is the same tensor of a module at each call."""
    told = meta.get("tensor_dict")
    return bool(isinstance(told, dict) and told.get("_dynamo_static_input_type"))


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
    floor = named("utils._sympy.functions.FloorDiv", Nothing)
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
