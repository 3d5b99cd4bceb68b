"""The call path of a chain: Python source of a call, unrolled over the arguments of the chain.

It is that of a launcher (``call_path.py``) for many launches at once. Whatever is not as it should
be is for the launches to find, also an index that a kernel has found out of range: it calls them
one by one, and says nothing itself. ::

    def call(a0, a1, a2):
        try:
            if profiler._is_profiler_enabled or not (a0.dtype is d0 and a0.is_cpu and ...):
                return by_members(a0, a1, a2)
        except AttributeError:
            return by_members(a0, a1, a2)
        key = (a0.shape, a0.stride(), a1.shape, a1.stride(),)
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx

from snipjit.ir.exact_integers import FARTHEST
from snipjit.runtime.chain_driver import SLOT
from snipjit.runtime.chain_script import Script, number_key
from snipjit.torch_private import IN_FORWARD_AD, PROFILING

_TEMPLATE = """
def call({arguments}):
    try:
        if {profiling} or {in_forward_ad} or not ({checks}):
            return by_members({arguments})
    except AttributeError:
        return by_members({arguments})
    {forms}
    key = ({key})
    plan = plans.get(key) or make_plan(key)
    if plan is one_by_one:
        return by_members({arguments})
    frames, starts, values, offsets, one_thread, pitch, shared, size, {layouts}alive = plan
    try:
        frame = frames.pop()
    except IndexError:
        frame = frames.make()
    program, roots, numbers, address, faults = frame
    {pointers}
    try:
        {numbers}
    except (TypeError, ValueError, RuntimeError):
        return by_members({arguments})
    if {far} or not ({present}):
        frames.append(frame)
        return by_members({arguments})
    {results}
    next(calls)
    threads = 1 if one_thread else thread_count()
    scratch = take_scratch(pitch * threads + shared)
    arena = take_arena(size)
    {program}
    if threads > 1:
        run_many(address)
    else:
        run_one(address)
    give_arena(arena)
    give_scratch(scratch)
    {fault}
    frames.append(frame)
    {by_index}
    return ({returned})
"""

_PROGRAM = {
    "starts": "starts",
    "values": "values",
    "offsets": "offsets",
    "scratch": "scratch.address",
    "arena": "arena.address",
    "threads": "threads",
}


def source(script: Script) -> str:
    """The text of ``call``.

    Its names: ``a`` arguments, ``x`` inputs that kernels read, ``p`` their addresses, ``d`` their
    element types, ``f`` the forms of those that are prepared; ``r`` results, ``e`` their types.
    """
    given = list(enumerate(script.given))
    roots = len(given)
    leaving = range(len(script.leaving))
    told = [f"a{number}" for number in script.told]
    arguments = _comma(f"a{i}" for i in range(len(script.arguments)))
    return _TEMPLATE.format(
        arguments=arguments,
        in_forward_ad=IN_FORWARD_AD,
        profiling=PROFILING,
        checks=" and ".join(f"a{g.number}.dtype is d{i} and a{g.number}.is_cpu" for i, g in given)
        or "True",
        forms=_lines(
            1, (f"x{i} = " + (f"f{i}(a{g.number})" if g.form else f"a{g.number}") for i, g in given)
        ),
        key=_comma([*(f"x{i}.shape, x{i}.stride()" for i, _ in given), *told]),
        layouts="".join(f"shape{i}, strides{i}, " for i in leaving),
        pointers=_lines(1, (f"roots[{i}] = p{i} = x{i}.data_ptr()" for i, _ in given)),
        numbers=_lines(2, _numbers(script)),
        far=" or ".join(_far(script)) or "False",
        present=" and ".join(f"p{i}" for i, _ in given) or "True",
        results=_lines(
            1,
            (
                f"r{i} = empty(shape{i}, strides{i}, e{i}); roots[{roots + i}] = r{i}.data_ptr()"
                for i in leaving
            ),
        ),
        program=_lines(
            1, (f"program[{SLOT[field]}] = {value}" for field, value in _PROGRAM.items())
        ),
        fault="fault = any(slot[0] for slot in faults)" if script.loads_by_index else "pass",
        by_index=f"if fault: return by_members({arguments})" if script.loads_by_index else "pass",
        returned=_comma(f"r{i}" for i in script.returned),
    )


def _numbers(script: Script) -> Iterable[str]:
    for place, number in enumerate(script.numbers):
        if isinstance(number, fx.Node) and number in script.arguments:
            yield f"numbers[{place}] = a{script.arguments[number]}"


def _far(script: Script) -> Iterable[str]:
    """Whether a scalar that is added to indices is too far off."""
    places = {number_key(number): place for place, number in enumerate(script.numbers)}
    counted = {
        places[number_key(member.scalars[number])]
        for member in script.members
        for number in member.launcher.structure.interface.counted
    }
    return (f"not {-FARTHEST} <= numbers[{place}] <= {FARTHEST}" for place in sorted(counted))


def _comma(items: Iterable[str]) -> str:
    text = ", ".join(items)
    return text + "," if text else ""


def _lines(depth: int, lines: Iterable[str]) -> str:
    return ("\n" + "    " * depth).join(lines) or "pass"
