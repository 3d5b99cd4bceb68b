"""The call path of a chain: Python source of a call, unrolled over the arguments of the chain.

It is that of a launcher (``call_path.py``) for many launches at once. Whatever is not as it should
be is for the launches to find, also an index that a kernel has found out of range: it calls them
one by one, and says nothing itself. Weights are looked at in one step while they are laid out as in
the calls before; of a chain with one weight ``a1`` ::

    def call(*arguments):
        [a0, a1, a2] = arguments
        weights = (a1,)
        is_same, layouts = last[0]
        repeated = is_same(*weights)
        try:
            if profiler._is_profiler_enabled or not (a0.dtype is d1 and a0.is_cpu and ...):
                return by_members(*arguments)
            if not (repeated or are_of_types(weights)):
                return by_members(*arguments)
        except AttributeError:
            return by_members(*arguments)
        given = (a1, a0, a2,)
        if not repeated:
            layouts = layouts_of(given[:1])
            note(layouts, weights)
        [x1, x2] = given[1:]
        key = (layouts, x1.shape, x1.stride(), x2.shape, x2.stride(),)

To unroll what is done with each weight would take long to compile, and save nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import fx

from snipjit.ir.exact_integers import FARTHEST
from snipjit.runtime.chain_driver import SLOT
from snipjit.runtime.chain_script import Given, Script, number_key
from snipjit.torch_private import IN_FORWARD_AD, PROFILING

_TEMPLATE = """
def call(*arguments):
    [{arguments}] = arguments
    weights = ({weights})
    is_same, layouts = last[0]
    repeated = is_same(*weights)
    try:
        if {profiling} or {in_forward_ad} or not ({checks}):
            return by_members(*arguments)
        if not (repeated or are_of_types(weights)):
            return by_members(*arguments)
    except AttributeError:
        return by_members(*arguments)
    given = ({given})
    if not repeated:
        layouts = layouts_of(given[:{count}])
        note(layouts, weights)
    [{others}] = given[{count}:]
    key = (layouts, {key})
    plan = plans.get(key) or make_plan(key)
    if plan is one_by_one:
        return by_members(*arguments)
    frames, starts, values, offsets, one_thread, pitch, shared, size, {layouts}alive = plan
    try:
        frame = frames.pop()
    except IndexError:
        frame = frames.make()
    program, roots, numbers, address, faults = frame
    addresses = [x.data_ptr() for x in given]
    roots[:{roots}] = array("l", addresses)
    try:
        {numbers}
    except (TypeError, ValueError, RuntimeError):
        return by_members(*arguments)
    if {far} or 0 in addresses:
        frames.append(frame)
        return by_members(*arguments)
    {results}
    next(calls)
    threads = 1 if one_thread else thread_count()
    room = pitch * threads + shared
    scratch = take_scratch({beside} * room)
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
    "room": "room",
    "arena": "arena.address",
    "threads": "threads",
}


def source(script: Script) -> str:
    """The text of ``call``.

    Its names: ``a`` arguments, ``x`` those that kernels read and that are no weights, ``d`` element
    types of what is given, ``f`` the forms of what is prepared; ``r`` results, ``e`` their types.
    """
    given, count = list(enumerate(script.given)), len(script.weights)
    others, roots = given[count:], len(given)
    leaving = range(len(script.leaving))
    told = [f"a{number}" for number in script.told]
    arguments = _comma(f"a{i}" for i in range(len(script.arguments)))
    return _TEMPLATE.format(
        arguments=arguments,
        in_forward_ad=IN_FORWARD_AD,
        profiling=PROFILING,
        checks=_checks(others),
        weights=_comma(f"a{number}" for number, _ in script.owned),
        given=_comma(f"f{i}(a{g.number})" if g.form else f"a{g.number}" for i, g in given),
        count=count,
        others=_comma(f"x{i}" for i, _ in others),
        roots=roots,
        key=_comma([*(f"x{i}.shape, x{i}.stride()" for i, _ in others), *told]),
        layouts="".join(f"shape{i}, strides{i}, " for i in leaving),
        numbers=_lines(2, _numbers(script)),
        far=" or ".join(_far(script)) or "False",
        beside=1 + max(script.beside, default=0),
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
        by_index="if fault: return by_members(*arguments)" if script.loads_by_index else "pass",
        returned=_comma(f"r{i}" for i in script.returned),
    )


def _checks(given: Sequence[tuple[int, Given]]) -> str:
    """Whether inputs are tensors of their types on the CPU."""
    checks = (f"a{g.number}.dtype is d{i} and a{g.number}.is_cpu" for i, g in given)
    return " and ".join(checks) or "True"


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
