"""The call path: Python source of a launcher's call, unrolled over the arguments of its kernel.

A loop over three tensors costs as much as looking at them, so the loops are written out, once a
launcher, as ``dataclasses`` does it. ``Launcher.source`` holds the text; for an attention with a
scale it begins ::

    def call(t0, t1, t2, s0):
        if profiler._is_profiler_enabled:
            return profiled(t0, t1, t2, s0)
        is_same, plan = last[0]
        repeated = is_same(t0, t1, t2)
        if not repeated:
            try:
                if not (t0.dtype is d0 and t0.is_cpu and t1.dtype is d1 and ...):
                    refuse(t0, t1, t2)
            except AttributeError:
                refuse(t0, t1, t2)
        ...
        if not repeated:
            key = (t0.shape, t0.stride(), t1.shape, t1.stride(), t2.shape, t2.stride(),)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from snipjit.ir.call_args import FIXED
from snipjit.ir.exact_integers import FARTHEST
from snipjit.runtime.interface import Interface
from snipjit.runtime.threads import THREADS_SLOT
from snipjit.torch_private import IN_FORWARD_AD, PROFILING

_TEMPLATE = """
def call({arguments}):
    if {profiling}:
        return profiled({arguments})
    is_same, plan = last[0]
    repeated = is_same({tensors})
    if not repeated:
        try:
            if not ({checks}):
                refuse({tensors})
        except AttributeError:
            refuse({tensors})
        given = ({tensors})
    if {in_forward_ad}:
        refuse_tangents({tensors})
    {forms}
    if not repeated:
        key = ({key})
        plan = plans.get(key) or make_plan(key)
        if plan is by_nodes:
            next(calls), next(fallbacks)
            return nodes({arguments})
        note(plan, given)
    frames, tasks, one_thread, copies, pitch, shared, values, {layouts} = plan
    if copies:
        {tensors} = dense_inputs(copies, ({tensors}))
    try:
        frame = frames.pop()
    except IndexError:
        frame = frames.make()
    told, slots, floats, address = frame
    told[:] = values
    {inputs}
    try:
        {scalars}
    except (TypeError, ValueError, RuntimeError) as error:
        refuse_scalars(error, {scalar_names})
    if {far}:
        refuse_far({scalar_names})
    if tasks and not ({pointers}):
        refuse_absent({tensors})
    {outputs}
    next(calls)
    threads = 1 if one_thread else thread_count()
    {take_scratch}
    if threads > 1:
        slots[{threads}] = threads
        run_many(address)
    elif tasks:
        run_one(address)
    {give_scratch}
    {fault}
    frames.append(frame)
    {refuse_indices}
    return {result}
"""

_TAKE_SCRATCH = """block = take_scratch(pitch * threads + shared)
    slots[{scratch}] = block.address"""


def source(
    interface: Interface, scratch: bool, prepared: Iterable[int] = (), profiling: str = PROFILING
) -> str:
    """The text of ``call`` for inputs, scalars and outputs, with or without scratchpad.

    ``profiling`` says when the call goes to ``profiled`` instead.
    Its names: ``t`` inputs, ``d`` their dtypes, ``p`` their addresses, ``s`` scalars, ``r``
    outputs, ``e`` their dtypes; ``f`` the forms of inputs that are prepared.
    """
    inputs = range(len(interface.inputs))
    outputs = range(len(interface.outputs))
    scalars = range(len(interface.scalars))
    results = _comma(f"r{i}" for i in outputs)
    tensors = _comma(f"t{i}" for i in inputs)
    fault = interface.fields.index("fault") if interface.gathered else None
    return _TEMPLATE.format(
        arguments=_comma([*(f"t{i}" for i in inputs), *(f"s{i}" for i in scalars)]),
        checks=" and ".join(f"t{i}.dtype is d{i} and t{i}.is_cpu" for i in inputs) or "True",
        tensors=tensors,
        forms=_lines(1, (f"t{i} = f{i}(t{i})" for i in prepared)),
        key=_comma(f"t{i}.shape, t{i}.stride()" for i in inputs),
        layouts=_comma(f"shape{i}, strides{i}" for i in outputs),
        inputs=_lines(1, (_input(interface, i) for i in inputs)),
        pointers=" and ".join(f"p{i}" for i in inputs) or "True",
        scalars=_lines(2, (f"floats[{_scalar(interface, i)}] = s{i}" for i in scalars)),
        scalar_names=_comma(f"s{i}" for i in scalars),
        far=" or ".join(_is_far(interface, i) for i in interface.counted) or "False",
        outputs=_lines(1, (_output(interface, i) for i in outputs)),
        take_scratch=_TAKE_SCRATCH.format(scratch=FIXED.index("scratch")) if scratch else "pass",
        give_scratch="give_scratch(block)" if scratch else "pass",
        fault=f"fault = slots[{fault}]" if fault else "pass",
        refuse_indices=f"if fault: refuse_indices({tensors})" if fault else "pass",
        result="r0" if len(outputs) == 1 else f"({results})",
        threads=THREADS_SLOT,
        in_forward_ad=IN_FORWARD_AD,
        profiling=profiling,
    )


def compile_call(text: str, names: dict[str, Any]) -> Callable[..., Any]:
    """The function of a source, reading ``names`` as its globals."""
    # FX names the target of a node by its module.
    names["__name__"] = __name__
    exec(compile(text, "<snipjit call path>", "exec"), names)
    call: Callable[..., Any] = names["call"]
    return call


def _comma(items: Iterable[str]) -> str:
    """The items with commas: arguments, targets or the inside of a tuple."""
    text = ", ".join(items)
    return text + "," if text else ""


def _lines(depth: int, lines: Iterable[str]) -> str:
    return ("\n" + "    " * depth).join(lines) or "pass"


def _data(interface: Interface, index: int) -> int:
    return interface.fields.index(f"data.{interface.inputs[index].name}")


def _scalar(interface: Interface, index: int) -> int:
    """The slot of a scalar, counted in floats."""
    return 2 * interface.fields.index(f"scalar.{interface.scalars[index]}")


def _is_far(interface: Interface, index: int) -> str:
    """Whether a scalar is no number that can be added to indices."""
    return f"not {-FARTHEST} <= floats[{_scalar(interface, index)}] <= {FARTHEST}"


def _input(interface: Interface, index: int) -> str:
    return f"slots[{_data(interface, index)}] = p{index} = t{index}.data_ptr()"


def _output(interface: Interface, index: int) -> str:
    slot = interface.fields.index(f"data.{interface.outputs[index].name}")
    allocation = f"r{index} = empty(shape{index}, strides{index}, e{index})"
    return f"{allocation}; slots[{slot}] = r{index}.data_ptr()"
