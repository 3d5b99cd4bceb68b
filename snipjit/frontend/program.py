"""Standalone programs: exported models, compiled once and called like the module they came from."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind, InputSpec, OutputKind

from snipjit.errors import InputError
from snipjit.frontend.autocast_regions import with_casts
from snipjit.frontend.caches import recycle_caches
from snipjit.frontend.chains import chain
from snipjit.frontend.files import load_pt2
from snipjit.frontend.input_checks import InputChecks
from snipjit.frontend.options import Options
from snipjit.frontend.prepared_state import keep_prepared
from snipjit.frontend.signature import bind, input_names
from snipjit.frontend.statistics import record_graph
from snipjit.frontend.torch_backend import fuse
from snipjit.passes.fx import note_state, with_bodies
from snipjit.runtime.collection import collection_paused
from snipjit.runtime.host import require_platform
from snipjit.torch_private import check_version, compile_by_inductor, pytree

Target = ExportedProgram | str | Path | torch.nn.Module | Callable[..., Any]


class Program:
    """A compiled program: call it with the arguments the model was exported with.

    Sizes of dynamic dims may change at every call. It runs without grad. Buffers and parameters
    that the model updates are the program's own, and keep what the last call left in them;
    arguments that the model writes to are written to.
    """

    def __init__(
        self,
        exported: ExportedProgram,
        options: Mapping[str, Any] | None = None,
        *,
        is_own: bool = False,
    ) -> None:
        """``is_own``: no one else has the export, so that it need not keep weights that kernels
        have in their own order."""
        require_platform()
        check_version()
        chosen = Options.of(options)
        self.exported = exported
        program = lifted(exported)
        self.graph_module = program.graph_module
        record_graph()
        with collection_paused():
            for graph in with_bodies(self.graph_module):
                fuse(graph, chosen, grad=False)
        self.state, self._written = _bound_state(program), _written(program)
        if is_own and chosen.weights == "prepared" and chosen.rest == "eager":
            _drop(exported, program, keep_prepared(self.graph_module, self.state, self._written))
        if chosen.rest == "eager":
            for graph in with_bodies(self.graph_module):
                chain(graph)
                recycle_caches(graph)
        self._run = _runner(self.graph_module, program, chosen)
        self._check = InputChecks(program)
        self._places, _ = input_names(exported)
        self._in_spec = program.call_spec.in_spec
        self._out_spec = program.call_spec.out_spec

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; InputError if the arguments are not as exported."""
        given = [*self.state, *self._flatten(args, kwargs)]
        with torch.inference_mode():
            outputs = self._run(*(x.resolve_neg() if _is_neg(x) else x for x in given))
            if self._written:
                outputs = _write_back([given[place] for place in self._written], outputs)
        return pytree.tree_unflatten(outputs, self._out_spec)

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        bound = args, kwargs = bind(self.exported, args, kwargs)
        flat: list[Any]
        flat, spec = pytree.tree_flatten(bound)
        if spec != self._in_spec:
            raise InputError(
                "the arguments are not nested as the program was exported; it takes "
                + " ".join(str(self._in_spec).split())
            )
        self._check(flat, dict(zip(self._places, args, strict=True)) | kwargs)
        return flat


def compile(
    target: Target,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    options: Mapping[str, Any] | None = None,
) -> Program:
    """Compile an ExportedProgram, a ``.pt2`` file, or a module or function with example arguments.

    Modules and functions are exported with every dim dynamic (``Dim.AUTO``) unless
    ``dynamic_shapes`` says otherwise. Raises InputError for a missing or damaged file and for
    something that is no model; OptionError for unknown options; UnsupportedError on systems but
    x86-64 Linux.
    """
    require_platform()
    if isinstance(target, str | Path):
        return Program(load_pt2(target), options, is_own=True)
    if isinstance(target, ExportedProgram):
        return Program(target, options)
    if not callable(target) or isinstance(target, type):
        kind = type(target).__name__
        raise InputError(f"cannot compile a {kind}: pass an ExportedProgram, a .pt2 or a module")
    if not isinstance(args, tuple | list) or not isinstance(kwargs, Mapping | None):
        raise InputError("args must be a tuple of example arguments, and kwargs a dict of them")
    exported = _export(target, tuple(args), dict(kwargs or {}), dynamic_shapes)
    return Program(exported, options, is_own=True)


def _export(
    target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any
) -> ExportedProgram:
    _check_fit(target, args, kwargs)
    args, kwargs = _distinct((args, kwargs))
    if dynamic_shapes is None:
        dynamic_shapes = _all_dynamic(target, args, kwargs)
    module = target if isinstance(target, torch.nn.Module) else _Function(target)
    with torch.no_grad():
        return export(module, args, kwargs, dynamic_shapes=dynamic_shapes, strict=False)


def _distinct(examples: Any) -> Any:
    """The examples without repeated tensors, and without views.

    Export would take two equal ones for one input, and compare sizes of what views are of.
    """
    seen: set[int] = set()

    def copy(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and (id(value) in seen or value._is_view()):
            return value.clone()
        seen.add(id(value))
        return value

    return pytree.tree_map(copy, examples)


class _Function(torch.nn.Module):
    """A plain function as the module that export wants."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        # An attribute and not a method, so that export sees the function's own signature.
        self.forward = function


def _signature(target: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(target.forward if isinstance(target, torch.nn.Module) else target)


def _check_fit(target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise InputError where a model cannot be called with the example arguments."""
    try:
        _signature(target).bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"the example arguments do not fit the model: {error}") from error


def _all_dynamic(target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def dims(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return dict.fromkeys(range(value.dim()), Dim.AUTO)
        return None

    bound = _signature(target).bind(*args, **kwargs).arguments
    return {name: pytree.tree_map(dims, value) for name, value in bound.items()}


def lifted(exported: ExportedProgram) -> ExportedProgram:
    """The program in ATen operations with whole attention calls kept."""
    with warnings.catch_warnings():
        # torch copies its own deprecated classes.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
        # torch 2.14 erases a copy twice.
        warnings.filterwarnings("ignore", category=UserWarning, message="erase_node")
        result: ExportedProgram = with_casts(exported).run_decompositions({})
    users = {*result.graph_signature.user_inputs}
    note_state(node for node in result.graph.nodes if node.name not in users)
    return result


def _drop(exported: ExportedProgram, lifted: ExportedProgram, numbers: Collection[int]) -> None:
    """Take tensors out of an export that the program has in another form."""
    own = _own_inputs(lifted)
    for number in numbers:
        for held in (exported.state_dict, exported.constants):
            held.pop(own[number].target or "", None)


def _own_inputs(exported: ExportedProgram) -> list[InputSpec]:
    """The inputs of the lifted graph that are state, in order."""
    specs = exported.graph_signature.input_specs
    return [spec for spec in specs if spec.kind != InputKind.USER_INPUT]


def _bound_state(exported: ExportedProgram) -> list[Any]:
    """Parameters, buffers and constants, in the order the lifted graph takes them."""
    signature = exported.graph_signature
    updated = {*signature.buffers_to_mutate.values(), *signature.parameters_to_mutate.values()}
    state: list[Any] = []
    for spec in _own_inputs(exported):
        name = spec.target or ""
        source = exported.state_dict if name in exported.state_dict else exported.constants
        value = source[name]
        if name in updated:
            value = value.clone()
        state.append(value.detach() if isinstance(value, torch.Tensor) else value)
    return state


def _written(exported: ExportedProgram) -> list[int]:
    """The inputs of the lifted graph, state first, whose new values are its first outputs."""
    signature = exported.graph_signature
    own = _own_inputs(exported)
    users = [spec for spec in signature.input_specs if spec.kind == InputKind.USER_INPUT]
    places = {spec.target: place for place, spec in enumerate(own)}
    names = {getattr(spec.arg, "name", None): len(own) + i for i, spec in enumerate(users)}
    written: list[int] = []
    for spec in signature.output_specs:
        if spec.kind == OutputKind.USER_OUTPUT:
            break
        known = names if spec.kind == OutputKind.USER_INPUT_MUTATION else places
        written.append(known[spec.target])
    return written


def _runner(gm: fx.GraphModule, exported: ExportedProgram, options: Options) -> Callable[..., Any]:
    if options.rest == "eager":
        runner: Callable[..., Any] = gm.forward
        return runner
    examples = [node.meta["val"] for node in gm.graph.nodes if node.op == "placeholder"]
    with torch.no_grad():  # parameters that require grad would have a backward graph compiled
        return compile_by_inductor(gm, examples)


def _write_back(places: Sequence[torch.Tensor], outputs: Sequence[Any]) -> list[Any]:
    """Copy the first outputs to their places; the others, which keep what they were."""
    kept = [value.clone() if _shares(value, places) else value for value in outputs]
    for place, value in zip(places, kept, strict=False):
        place.copy_(value)
    return kept[len(places) :]


def _shares(value: Any, tensors: Sequence[torch.Tensor]) -> bool:
    """Whether a value is a tensor in the memory of one of several."""
    if not isinstance(value, torch.Tensor):
        return False
    memory = value.untyped_storage().data_ptr()
    return any(memory == tensor.untyped_storage().data_ptr() for tensor in tensors)


def _is_neg(value: Any) -> bool:
    """Whether a tensor's memory holds other signs than its elements have."""
    return isinstance(value, torch.Tensor) and value.is_neg()
