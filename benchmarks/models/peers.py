"""Whom whole models meet, each in its best form, and ours.

Inductor, ONNX Runtime and ours take the eager form, in which they find more to fuse; OpenVINO takes
the one with SDPA. Lengths are dynamic for all but ``static``, which compiles each anew: linear
layers of known sizes go to MKL's packed weights there, of dynamic ones to oneDNN's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.linear import PREPARED, SNIPJIT
from benchmarks.models import onnxruntime
from benchmarks.models.case import Forms, Inputs
from benchmarks.peers import openvino
from benchmarks.peers.base import Absent, own_code
from benchmarks.precisions import F32
from snipjit.cli.compare import error_between, usual_tolerance

Call = Callable[..., Any]
Make = Callable[[Forms, Sequence[Inputs]], Call]
"""Makes a contestant of a model that will be called with some sets of inputs."""

EAGER, CONTROL, SDPA = "eager", "eager again", "sdpa"
INDUCTOR, OPENVINO = "inductor", "openvino"
WITH_INDUCTOR = "with inductor"
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


def _openvino(forms: Forms, sets: Sequence[Inputs]) -> Call:
    """In f32 where the CPU does not compute in the type.

    From weights in bf16, which it would convert in every call, it is twenty times slower there.
    """
    dtype = forms.precision.dtype
    if openvino.is_native(forms.precision):
        return openvino.compiled(forms.sdpa, sets[0], forms.precision)
    call = openvino.compiled(deepcopy(forms.sdpa).float(), sets[0], F32)
    return lambda *tensors: call(*tensors).to(dtype)


def _onnxruntime(forms: Forms, sets: Sequence[Inputs]) -> Call:
    """The eager form, or where its fusions compute something else the one with SDPA."""
    # Export builds in sizes of 1: the largest inputs may have others there.
    largest = max(sets, key=lambda inputs: sum(tensor.numel() for tensor in inputs))
    call, wanted = onnxruntime.compiled(forms.eager, largest), forms.eager(*largest)
    if error_between(call(*largest), wanted)[1] <= usual_tolerance(wanted):
        return call
    return onnxruntime.compiled(forms.sdpa, largest)


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
}
OURS: dict[str, Make] = {
    SNIPJIT: partial(_ours, weights="in_place"),
    PREPARED: partial(_ours, weights="prepared"),
    WITH_INDUCTOR: partial(_ours, weights="prepared", rest="inductor"),
}


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
