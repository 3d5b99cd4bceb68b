"""OpenVINO: the row's source and its forms with SDPA, converted and compiled; the fastest counts.

Heads and head size are static in the converted model, batch and lengths dynamic. Inputs and results
are shared memory. It runs its own threads, as many as torch has. It is asked to compute in the type
of the inputs where the CPU can, else in f32: asked for f16 on a CPU without, it takes bf16, and its
results have errors of bf16.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks.models.case import static_dims
from benchmarks.peers import sdpa
from benchmarks.peers.base import Absent, Inputs, fastest
from benchmarks.precisions import Precision
from benchmarks.rows import Row
from benchmarks.sources import Form

CAPABILITIES = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}
"""OpenVINO's names of what a CPU can compute in."""


class _Module(torch.nn.Module):
    """A form as the converter wants it."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.form(*tensors)


def build(row: Row, inputs: Inputs) -> Form:
    """The fastest form, compiled. Raises Absent where OpenVINO is not installed."""
    candidates = [compiled(row.model.form, inputs, row.precision)]
    try:
        with_sdpa, masks = sdpa.forms(row), sdpa.shared_mask(row, inputs)
    except Absent:
        return candidates[0]
    for form in with_sdpa:
        request = compiled(form, (*inputs[:3], *masks), row.precision)
        candidates.append(_with_masks(request, masks))
    return fastest(candidates, inputs)


def _with_masks(form: Form, masks: tuple[Tensor, ...]) -> Form:
    return lambda q, k, v, *extras: form(q, k, v, *masks)


def compiled(form: Form, inputs: Inputs, precision: Precision) -> Form:
    """A form as an inference request. Each call overwrites the result of the call before.

    Raises Absent where OpenVINO is not installed.
    """
    ov = _library()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing tells of every branch on a size
        model = ov.convert_model(
            _Module(form), example_input=inputs, input=[_shape(tensor) for tensor in inputs]
        )
    settings = _settings(precision)
    request: Any = _core().compile_model(model, "CPU", settings).create_infer_request()
    count = len(model.outputs)

    def call(*tensors: Tensor) -> Any:
        for number, tensor in enumerate(tensors):
            request.set_input_tensor(number, _shared(tensor))
        request.start_async()  # cheaper than infer(), which makes a dictionary of results
        request.wait()
        results = tuple(
            torch.from_numpy(request.get_output_tensor(number).data).view(precision.dtype)
            for number in range(count)  # viewed: NumPy has no bfloat16
        )
        return results[0] if count == 1 else results

    return call


def _shared(tensor: Tensor) -> Any:
    """The memory of a torch tensor as a tensor of OpenVINO's."""
    ov = _library()
    if tensor.dtype != torch.bfloat16:
        return ov.Tensor(tensor.numpy(), shared_memory=True)
    return ov.Tensor(tensor.view(torch.int16).numpy(), list(tensor.shape), ov.Type.bf16)


def _shape(tensor: Tensor) -> list[int]:
    """Sizes that are marked as the model's (heads, their size), -1 for what is dynamic."""
    static = static_dims(tensor)
    return [size if dim in static else -1 for dim, size in enumerate(tensor.shape)]


def is_native(precision: Precision) -> bool:
    """Whether the CPU computes in a type. Raises Absent where OpenVINO is not installed."""
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return CAPABILITIES[precision.name] in capabilities


def _settings(precision: Precision) -> dict[str, object]:
    return {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": precision.name if is_native(precision) else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }


@cache
def _core() -> Any:
    return _library().Core()


def _library() -> Any:
    try:
        return import_module("openvino")
    except ImportError as error:
        raise Absent("it is not installed: pip install -e '.[peers]'") from error
