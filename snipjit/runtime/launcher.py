"""Launcher: what stands in the FX graph. Tensors and scalars in, a kernel call, tensors out.

A call of shapes and strides that were seen before costs some 2 µs, one like the calls before it
a third less (``repeated.py``): a look-up, the outputs' allocation, and the few slots of
CallArgs that only the call knows. Everything else is configured once for the shapes and kept as
bytes: a plan takes about 1 KB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any, NoReturn

import numpy as np
import torch

from snipjit.errors import IndexRangeError, InputError
from snipjit.ir.call_args import FIXED
from snipjit.ir.element_types import Typed
from snipjit.ir.exact_integers import FARTHEST
from snipjit.runtime.call_path import compile_call, source
from snipjit.runtime.frames import Frames
from snipjit.runtime.input_copies import InputCopy
from snipjit.runtime.interface import NO_STRIDES, Ints
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.plans import Plans
from snipjit.runtime.profiling import name_for, profiled
from snipjit.runtime.repeated import Repeated
from snipjit.runtime.scratchpad import SCRATCHPADS, Scratchpads, pitch
from snipjit.runtime.structure import Structure
from snipjit.runtime.threads import ENTRY_SLOT, is_forked, run_many, run_one, thread_count
from snipjit.torch_private import empty_strided, forward_ad, profiler

PITCH_SLOT = FIXED.index("pitch")

Result = torch.Tensor | tuple[torch.Tensor, ...]
Key = tuple[Ints, ...]
"""Shape and strides (elements) of each input in turn."""

Plan = tuple[Any, ...]
"""How to call with one key: the kernel's frames, tasks, whether one thread does them, copies or
None, bytes of scratchpad of a worker and for all together, values of the slots, then shape and
strides of each output. Small, as there may be thousands."""


BY_NODES: Plan = ("PyTorch's own nodes",)
"""The plan of a call that the nodes do."""

unpack_dual: Any = forward_ad.unpack_dual  # torch gives it no type


def torch_dtype(held: Typed) -> torch.dtype:
    """torch's name of an element type."""
    found: torch.dtype = getattr(torch, held.element.torch)
    return found


class Launcher:
    """Calls the kernels of one structure. Safe to call from many threads; serves all equal layers.

    ``call`` is ``__call__`` for a graph, in which tracing has seen the number of arguments and that
    tensors are plain memory. ``scratchpads`` and ``empty`` allocate scratch memory and outputs;
    ``nodes`` does the same by PyTorch's own operations, for sizes at which that is the better way.
    """

    def __init__(
        self,
        structure: Structure,
        scratchpads: Scratchpads = SCRATCHPADS,
        empty: Callable[[Ints, Ints, torch.dtype], torch.Tensor] = empty_strided,
        nodes: Callable[..., Any] | None = None,
    ) -> None:
        self.structure, self.nodes = structure, nodes
        self.source = source(structure.interface, structure.uses_scratch, structure.forms)
        self._plans: Plans[Key, Plan] = Plans(self._configure, with_equals)
        self._repeated = Repeated()
        self._frames: dict[Kernel, Frames] = {}
        self._calls = count()
        self._chains: list[tuple[count[int], int]] = []
        self._configurations = count()
        self._fallbacks = count()
        self.name = name_for(structure.interface.label)
        self._reads = self._names(scratchpads, empty)
        self.call = compile_call(self.source, self._reads)

    @property
    def calls(self) -> int:
        """How many calls had valid arguments."""
        return _value(self._calls) + sum(times * _value(calls) for calls, times in self._chains)

    def count_in(self, chain: count[int], times: int) -> None:
        """Count a number of calls for each one of a chain, which runs kernels without ``call``."""
        self._chains.append((chain, times))

    @property
    def configurations(self) -> int:
        """How many calls had to be configured."""
        return _value(self._configurations)

    @property
    def fallbacks(self) -> int:
        """How many calls PyTorch's own nodes served."""
        return _value(self._fallbacks)

    @property
    def plans_kept(self) -> int:
        """How many sets of shapes and strides are remembered."""
        return len(self._plans)

    def __call__(self, *args: Any) -> Result:
        """Run the kernel on ``args``: the tensors of the interface, then its scalars.

        Scalars are floats, symbolic floats or tensors of one element. Returns a tensor, or a tuple
        if the kernel has several outputs; none requires grad. Raises InputError, before any memory
        is touched, if an argument does not fit.
        """
        interface = self.structure.interface
        if len(args) != len(interface.inputs) + len(interface.scalars):
            raise InputError(
                f"{len(args)} arguments: pass {len(interface.inputs)} tensors and "
                f"{len(interface.scalars)} scalars"
            )
        for spec, value in zip(interface.inputs, args, strict=False):
            _check_plain(spec.name, value)
        result: Result = self.call(*args)
        return result

    def _names(self, scratchpads: Scratchpads, empty: Any) -> dict[str, Any]:
        """What the call path reads."""
        interface = self.structure.interface
        many = run_many()
        return {
            **{f"d{i}": torch_dtype(spec) for i, spec in enumerate(interface.inputs)},
            **{f"e{i}": torch_dtype(spec) for i, spec in enumerate(interface.outputs)},
            **{f"f{i}": form for i, form in self.structure.forms.items()},
            "by_nodes": BY_NODES,
            "calls": self._calls,
            "dense_inputs": dense_inputs,
            "empty": empty,
            "give_scratch": scratchpads.give,
            "last": self._repeated.last,
            "make_plan": self.plan,
            "nodes": self.nodes,
            "note": self._repeated.note,
            "plans": self._plans.recent,
            "profiled": profiled(self.name, len(interface.inputs), self._unwatched),
            "profiler": profiler,
            "fallbacks": self._fallbacks,
            "forward_ad": forward_ad,
            "refuse": self._refuse,
            "refuse_absent": self._refuse_absent,
            "refuse_far": self._refuse_far,
            "refuse_indices": self._refuse_indices,
            "refuse_scalars": self._refuse_scalars,
            "refuse_tangents": self._refuse_tangents,
            "run_many": many,
            "run_one": run_one(),
            "take_scratch": scratchpads.take,
            "thread_count": thread_count if many else lambda: 1,
        }

    def _unwatched(self) -> Callable[..., Any]:
        """``call`` as it is while no profiler runs."""
        structure = self.structure
        text = source(structure.interface, structure.uses_scratch, structure.forms, "False")
        return compile_call(text, dict(self._reads))

    def plan(self, key: Key) -> Plan:
        """How to call with some shapes and strides of the inputs, weights in their forms."""
        return self._plans.find(key)

    def plan_into(self, key: Key, strides: Mapping[int, Ints]) -> Plan:
        """The same with strides of some results, by number, that lie in memory of others.

        Raises InputError where kernels cannot write them so.
        """
        return self._configure(key, strides)

    def _configure(self, key: Key, strides: Mapping[int, Ints] = NO_STRIDES) -> Plan:
        if self.nodes is not None and self.structure.prefers_nodes(key[::2]):
            return BY_NODES
        kernel, config = self.structure.configure(key[::2], key[1::2], strides)
        next(self._configurations)
        scratch, values = pitch(kernel.recipe.scratch_bytes), list(config.slots)
        values[ENTRY_SLOT], values[PITCH_SLOT] = kernel.address, scratch
        frames = self._frames.setdefault(kernel, Frames(kernel.recipe.fields))
        layouts = zip(config.output_shapes, config.output_strides, strict=True)
        how = config.tasks, config.one_thread, config.copies or None, scratch, config.shared
        return (frames, *how, frames.values(values), *map(_one_of_equals, chain(*layouts)))

    def _refuse(self, *tensors: Any) -> NoReturn:
        """Raise the InputError for the first argument that is not as the interface wants it."""
        for spec, value in zip(self.structure.interface.inputs, tensors, strict=True):
            wanted = torch_dtype(spec)
            if not isinstance(value, torch.Tensor):
                raise InputError(f"input {spec.name!r} is a {type(value).__name__}: pass a tensor")
            if value.dtype is not wanted:
                raise InputError(
                    f"tensor {spec.name!r} has dtype {value.dtype}: convert it to {wanted}"
                )
            if not value.is_cpu:
                raise InputError(f"tensor {spec.name!r} is on {value.device}: move it to the CPU")
        raise AssertionError("every tensor fits")

    def _refuse_absent(self, *tensors: torch.Tensor) -> None:
        """Raise the InputError for a tensor that has elements but no memory (fake or all zero)."""
        for spec, value in zip(self.structure.interface.inputs, tensors, strict=True):
            if value.numel() and not value.data_ptr():
                kind = type(value).__name__
                raise InputError(f"tensor {spec.name!r} is a {kind} without memory: clone() it")

    def _refuse_indices(self, *tensors: torch.Tensor) -> NoReturn:
        """Raise the IndexRangeError for an index that is none: nothing was read by it."""
        interface = self.structure.interface
        for table, dim, of in interface.gathered:
            name, size = interface.inputs[table].name, tensors[table].shape[dim]
            indices = tensors[of].detach().numpy()
            if indices.size and not 0 <= indices.min() <= indices.max() < size:
                raise IndexRangeError(
                    f"index out of range in self: from {indices.min()} to {indices.max()}, but dim "
                    f"{dim} of tensor {name!r} has size {size}"
                )
        raise IndexRangeError("index out of range in self")

    def _refuse_far(self, *scalars: Any) -> NoReturn:
        """Raise the InputError for numbers that float32 does not hold when indices are added."""
        counted = self.structure.interface.counted
        given = ", ".join(f"{float(scalars[number]):g}" for number in counted)
        raise InputError(
            f"a mask counts indices from {given}; accepted: numbers from -{FARTHEST} to {FARTHEST}"
        )

    def _refuse_tangents(self, *tensors: torch.Tensor) -> None:
        """Raise the InputError for a tensor with a tangent of forward-mode differentiation."""
        for spec, value in zip(self.structure.interface.inputs, tensors, strict=True):
            if unpack_dual(value).tangent is not None:
                raise InputError(
                    f"tensor {spec.name!r} has a tangent, which a kernel does not carry on: "
                    "differentiate the model without snipjit"
                )

    def _refuse_scalars(self, error: Exception, *scalars: Any) -> NoReturn:
        """Raise the InputError for scalars that are no numbers."""
        pairs = zip(self.structure.interface.scalars, scalars, strict=True)
        given = ", ".join(f"{name}={value!r:.60}" for name, value in pairs)
        raise InputError(f"scalars {given}: pass floats or tensors of one element") from error


@lru_cache(maxsize=512, typed=True)  # a torch.Size is sooner found by one; ``empty`` takes none
def _one_of_equals(layout: Ints) -> Ints:
    """A shape or strides, for all equal ones of late: every key has the same of its weights."""
    return layout


def with_equals(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key of such parts as equal keys of late have."""
    return tuple(map(_one_of_equals, key))


def _check_plain(name: str, value: Any) -> None:
    """Raise InputError for a tensor whose memory does not hold its elements as they are."""
    if not isinstance(value, torch.Tensor):
        return
    if value.layout is not torch.strided or value.is_nested:
        layout = "nested" if value.is_nested else value.layout
        raise InputError(f"tensor {name!r} is {layout}: pass a strided tensor")
    if value.is_neg():
        raise InputError(f"tensor {name!r} is a view with other signs: pass its resolve_neg()")


def dense_inputs(copies: dict[int, InputCopy], tensors: Sequence[Any]) -> list[torch.Tensor]:
    """The inputs, with those copied that the kernel cannot read in place."""
    return [
        _dense(tensor.detach(), copies[i]) if i in copies else tensor
        for i, tensor in enumerate(tensors)
    ]


def _dense(tensor: torch.Tensor, copy: InputCopy) -> torch.Tensor:
    """A dense copy of a view of the tensor's storage. torch's own copy would use its threads."""
    source = tensor.as_strided(copy.shape, copy.strides)
    dense = torch.empty(copy.shape, dtype=tensor.dtype, device="cpu")
    if not is_forked():
        return dense.copy_(source)
    # NumPy has no bfloat16: a copy is one of bits.
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[source.element_size()]
    np.copyto(dense.view(bits).numpy(), source.view(bits).numpy())
    return dense


def _value(calls: count[int]) -> int:
    """The next value of a count, which stays as it is."""
    return int(repr(calls)[len("count(") : -1])
