"""Library: a launcher as an op of ``torch.library``, which AOTAutograd and Inductor accept.

The op's name is a hash of all that its behaviour and its output layout depend on. Inductor's disk
cache keys a graph by op names and does not see our meta function: another layout needs another
name.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import torch

from snipjit.runtime.interface import Interface
from snipjit.runtime.launcher import Launcher, torch_dtype
from snipjit.version import __version__

NAMESPACE = "snipjit"

_new_library: Any = torch.library.Library
_library = _new_library(NAMESPACE, "FRAGMENT")
_ops: dict[str, Any] = {}
_lock = threading.RLock()


def op_name(launcher: Launcher, scalar_types: Sequence[str]) -> str:
    """The name of a launcher's op: the same in every process that compiles the same structure."""
    structure = launcher.structure
    content = repr((__version__, structure.key, structure.interface, tuple(scalar_types)))
    return f"kernel_{hashlib.sha256(content.encode()).hexdigest()[:24]}"


def define_op(launcher: Launcher, scalar_types: Sequence[str] | None = None) -> Any:
    """The overload of the launcher's op, defined on first use.

    ``scalar_types`` says what arrives for each scalar: ``Scalar`` (a number; the default) or
    ``Tensor`` (of one element). ``Scalar`` takes a SymFloat as it is; ``float`` would guard on its
    value and compile again for each.
    """
    interface = launcher.structure.interface
    types = ["Scalar"] * len(interface.scalars) if scalar_types is None else list(scalar_types)
    name = op_name(launcher, types)
    with _lock:
        if name not in _ops:
            _library.define(name + _schema(interface, types), tags=(torch.Tag.pt2_compliant_tag,))
            _library.impl(name, launcher.call, "CPU")
            torch.library.register_fake(f"{NAMESPACE}::{name}", _meta(launcher), lib=_library)
            _ops[name] = getattr(getattr(torch.ops, NAMESPACE), name).default
        return _ops[name]


def _schema(interface: Interface, scalar_types: Sequence[str]) -> str:
    tensors = [f"Tensor t{i}" for i in range(len(interface.inputs))]
    scalars = [f"{type} s{i}" for i, type in enumerate(scalar_types)]
    results = ", ".join(["Tensor"] * len(interface.outputs))
    results = results if len(interface.outputs) == 1 else f"({results})"
    return f"({', '.join(tensors + scalars)}) -> {results}"


def _meta(launcher: Launcher) -> Any:
    """Outputs without data, of the shapes, strides and dtypes that the launcher returns."""
    structure = launcher.structure
    dtypes = [torch_dtype(spec) for spec in structure.interface.outputs]
    count = len(structure.interface.inputs)

    def meta(*args: Any) -> Any:
        shapes = [tuple(tensor.shape) for tensor in args[:count]]
        for number, form in structure.forms.items():
            shapes[number] = form.shape(shapes[number])
        sizes = structure.interface.sizes(shapes)
        layouts = structure.interface.output_layouts(sizes)
        outputs = [
            torch.empty_strided(shape, strides, dtype=dtype, device=args[0].device)
            for (shape, strides), dtype in zip(layouts, dtypes, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return meta
