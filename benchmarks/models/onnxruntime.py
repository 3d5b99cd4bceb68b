"""ONNX Runtime: a model by the exporter of transformers, with its fusions for CPUs."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.case import Inputs, dynamic_dims
from benchmarks.peers.base import Absent

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def compiled(model: nn.Module, inputs: Inputs) -> Callable[..., Any]:
    """A session of the model, sizes dynamic. Raises Absent where a package is not installed."""
    runtime = _libraries()
    names = list(inspect.signature(model.forward).parameters)
    with _quiet(), TemporaryDirectory() as place:
        path = Path(place) / "model.onnx"
        _exported(model, dict(zip(names, inputs, strict=True)), path)
        session = runtime.InferenceSession(
            str(path), _options(runtime), providers=["CPUExecutionProvider"]
        )

    def call(*tensors: Tensor) -> Any:
        given = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        results = [torch.from_numpy(result) for result in session.run(None, given)]
        return results[0] if len(results) == 1 else tuple(results)

    return call


def _exported(model: nn.Module, inputs: dict[str, Tensor], path: Path) -> None:
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    auto = torch.export.Dim.AUTO
    shapes = {name: dict.fromkeys(dynamic_dims(t), auto) for name, t in inputs.items()}
    config = OnnxConfig(dynamic_shapes=shapes, ort_fusions="cpu")
    with torch.no_grad():
        exported = OnnxExporter().export(model, inputs, config=config)
    OnnxExporter.save_program(exported.program, path)


def _options(runtime: Any) -> Any:
    """As many threads as torch has, which rest when a call has ended: others run after it."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def _libraries() -> Any:
    for name in NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            raise Absent(f"{name} is not installed: pip install -e '.[peers]'") from error
    return import_module("onnxruntime")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of every step and of what it lacks for other models."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
