"""Whom whole models meet, each in its best form, and ours.

Inductor, ONNX Runtime and ours take the eager form, in which they find more to fuse; OpenVINO takes
the one with SDPA. Lengths are dynamic for all but ``static``, which compiles each anew: linear
layers of known sizes go to MKL's packed weights there, of dynamic ones to oneDNN's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import snipjit
from benchmarks.linear import PREPARED, SNIPJIT
from benchmarks.models import onnxruntime
from benchmarks.models.case import Forms, Inputs, dynamic_dims, largest, widened
from benchmarks.peers import openvino
from benchmarks.peers.base import Absent, own_code
from benchmarks.precisions import F32, Precision
from snipjit.cli.compare import error_between, usual_tolerance

Call = Callable[..., Any]
Make = Callable[[Forms, Sequence[Inputs]], Call]
"""Makes a contestant of a model that will be called with some sets of inputs."""

EAGER, CONTROL, SDPA = "eager", "eager again", "sdpa"
INDUCTOR, OPENVINO, ZENTORCH = "inductor", "openvino", "zentorch"
WITH_INDUCTOR, PROGRAM = "with inductor", "program"
FROZEN: dict[str, Any] = {"freezing": True, "cpp_wrapper": True, "cpp.enable_concat_linear": True}
DYNAMO = {"recompile_limit": 64, "specialize_float": True}
"""Dynamo, for Inductor and for us: as many graphs as there are cases, floats of models built in."""


def _eager(forms: Forms, sets: Sequence[Inputs]) -> Call:
    return forms.eager


def _sdpa(forms: Forms, sets: Sequence[Inputs]) -> Call:
    if forms.sdpa is forms.eager:
        raise Absent("it is the only form of this model: that is eager here")
    return forms.sdpa


def _inductor(forms: Forms, sets: Sequence[Inputs], dynamic: bool, frozen: bool = False) -> Call:
    needs_compiler()
    options = FROZEN if frozen else None
    return torch.compile(called(forms.eager), dynamic=dynamic, options=options)


def _zentorch(forms: Forms, sets: Sequence[Inputs]) -> Call:
    """AMD's backend on Inductor, weights prepared. It changes torch: it has its own process."""
    needs_compiler()
    try:
        zentorch = import_module("zentorch")
    except ImportError as error:
        raise Absent("it is not installed: pip install zentorch") from error
    if not zentorch._C.is_avx512_supported():
        raise Absent("it says that this CPU lacks the AVX-512 that it needs: it is Inductor then")
    torch._inductor.config.freezing = True
    return torch.compile(called(forms.sdpa), dynamic=True, backend="zentorch")


def _openvino(forms: Forms, sets: Sequence[Inputs]) -> Call:
    """In f32 where the CPU does not compute in the type.

    From weights in bf16, which it would convert in every call, it is twenty times slower there.
    """
    if openvino.is_native(forms.precision):
        return openvino.compiled(forms.sdpa, sets[0], forms.precision)
    inputs = tuple(map(widened, sets[0]))
    call = openvino.compiled(forms.wide_sdpa, inputs, F32)
    return _narrowing(call, forms.precision)


def _onnxruntime(forms: Forms, sets: Sequence[Inputs]) -> Call:
    """In f32: other types it computes one number at a time.

    The eager form, or where its fusions compute something else the one with SDPA.
    """
    inputs = tuple(map(widened, largest(sets)))
    call, wanted = onnxruntime.compiled(forms.wide, inputs), forms.wide(*inputs)
    if error_between(call(*inputs), wanted)[1] > usual_tolerance(wanted):
        call = onnxruntime.compiled(forms.wide_sdpa, inputs)
    return _narrowing(call, forms.precision)


def _narrowing(call: Call, precision: Precision) -> Call:
    """A call in f32 as one of a type: what a user would write around it."""
    if precision is F32:
        return call

    def narrow(*tensors: Tensor) -> Any:
        results = call(*map(widened, tensors))
        return tree_map_only(Tensor, lambda result: result.to(precision.dtype), results)

    return narrow


def _program(forms: Forms, sets: Sequence[Inputs]) -> Call:
    """Compiled ahead of the first call, without Dynamo: its weights are prepared, too.

    Sizes that are equal in the largest inputs are equal in all.
    """
    inputs = largest(sets)
    sizes = {size for tensor in inputs for size in tensor.shape}
    dims = {size: torch.export.Dim(f"of_{size}", min=1) for size in sizes}
    shapes = tuple({dim: dims[t.shape[dim]] for dim in dynamic_dims(t)} for t in inputs)
    options: dict[str, Any] = {"weights": "prepared"}
    return snipjit.compile(forms.eager, inputs, dynamic_shapes=shapes, options=options)


def _ours(forms: Forms, sets: Sequence[Inputs], weights: str, rest: str = "eager") -> Call:
    if rest == "inductor":
        needs_compiler()
    options: dict[str, Any] = {"weights": weights, "rest": rest}
    compiled: Call = torch.compile(
        called(forms.eager), backend="snipjit", dynamic=True, options=options
    )
    return compiled


PEERS: dict[str, Make] = {
    EAGER: _eager,  # the model, attention written out
    SDPA: _sdpa,  # the model with F.scaled_dot_product_attention
    INDUCTOR: partial(_inductor, dynamic=True),
    "frozen": partial(_inductor, dynamic=True, frozen=True),  # Inductor with constant weights
    "static": partial(_inductor, dynamic=False, frozen=True),  # the same, each length compiled
    OPENVINO: _openvino,
    "onnxruntime": _onnxruntime,
    ZENTORCH: _zentorch,
}
OURS: dict[str, Make] = {
    SNIPJIT: partial(_ours, weights="in_place"),
    PREPARED: partial(_ours, weights="prepared"),
    PROGRAM: _program,
    WITH_INDUCTOR: partial(_ours, weights="prepared", rest="inductor"),
}
ALONE = (ZENTORCH,)
"""Who must not share a process with others."""


def called(model: nn.Module) -> Call:
    """A function of its own that calls a model: Dynamo's caches belong to code."""

    def call(*tensors: Tensor) -> Any:
        return model(*tensors)

    return own_code(call)


def needs_compiler() -> None:
    """Raise Absent where Inductor would find no C++ compiler."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise Absent(f"there is no C++ compiler here ({compiler})")
