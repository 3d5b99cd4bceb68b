"""Engine: LLVM IR text in, object code and loaded functions out (llvmlite.binding).

``compile_object`` needs no host of the target's kind and ``load`` needs no IR: object code is what
a disk cache stores. There is one LLJIT in a process; every entry to LLVM holds ``host.LOCK``.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import llvmlite
import llvmlite.binding as llvm

from snipjit.errors import LinkError, VerificationError
from snipjit.runtime import tile_registers
from snipjit.runtime.host import LOCK, may_execute, require_executable_memory
from snipjit.target.target_machine import TARGETS, TargetMachine

CODE_GENERATION_LEVEL = 3
"""LLVM's effort in instruction selection, scheduling and register allocation (0 to 3)."""

_LIBRARY_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Loaded:
    """A function in executable memory, which stays there as long as this object lives."""

    address: int
    _tracker: object = field(repr=False)


@cache
def host_features() -> frozenset[str]:
    """The LLVM features this CPU and its operating system have, such as ``avx512f``.

    Those of AMX only if all that tiles need is there, if the operating system lets this process use
    the registers, and if these multiply as they should.
    """
    features = llvm.get_host_cpu_features()
    present = frozenset(name for name, present in features.items() if present)
    row = next(row for row in TARGETS if row.tiles)
    named = present.issuperset(row.features)
    if named and tile_registers.are_permitted() and may_execute() and _tiles_multiply(row):
        return present
    return frozenset(name for name in present if not name.startswith("amx-"))


def _tiles_multiply(target: TargetMachine) -> bool:
    """Whether a product in tile registers comes out right."""
    loaded = load(compile_object(tile_registers.PROBE, target), "probe")  # alive during the call
    return tile_registers.agrees(loaded.address)


def compiler_version() -> str:
    """The versions of LLVM and of llvmlite, which decide the code that comes out."""
    return f"{llvm.llvm_version_info} {llvmlite.__version__}"


def compile_object(llvm_ir: str, target: TargetMachine) -> bytes:
    """Object code of a module for one target row.

    LLVM's mid-level passes do not run: they are half of its time, and find nothing to do in code
    that is vectorized and unrolled. Raises VerificationError if LLVM does not accept the text.
    """
    with LOCK:
        return compile_beside(llvm_ir, target)


def compile_beside(llvm_ir: str, target: TargetMachine) -> bytes:
    """The same on one of ``compile_threads``, while another thread holds ``host.LOCK`` for it."""
    with _module(llvm_ir, target) as (module, machine):
        return _emit(machine, module)


def assembly(llvm_ir: str, target: TargetMachine) -> str:
    """The module as assembly text for one target row, for reading."""
    with LOCK, _module(llvm_ir, target) as (module, machine):
        return str(machine.emit_assembly(module))


def load(object_code: bytes, symbol: str, imports: Mapping[str, int] | None = None) -> Loaded:
    """Put object code into executable memory and find ``symbol`` in it.

    Functions that the code calls but does not define are ``imports`` (addresses by name), or come
    from the process (libc, libm). Raises LinkError if the object cannot be linked, and
    UnsupportedError if the process may not have executable memory.
    """
    require_executable_memory()
    builder = llvm.JITLibraryBuilder().add_object_img(object_code).add_current_process()
    for name, address in (imports or {}).items():
        builder.import_symbol(name, address)
    with LOCK:
        try:
            tracker = builder.export_symbol(symbol).link(
                _lljit(), f"snipjit{next(_LIBRARY_NUMBERS)}"
            )
        except RuntimeError as error:
            raise LinkError(f"object code does not link: {error}") from error
    return Loaded(tracker[symbol], tracker)


@contextmanager
def _module(
    llvm_ir: str, target: TargetMachine
) -> Iterator[tuple[llvm.ModuleRef, llvm.TargetMachine]]:
    """A verified module in a context of its own, and the machine to emit it."""
    machine = _target_machine(target.cpu, target.llvm_features)
    module = _parse(llvm_ir)
    with module:
        yield module, machine


def _emit(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """Object code, by a way of its own into llvmlite's library: the usual one lets in one thread at
    a time, and this is where the time goes. Module and machine belong to this thread alone."""
    library, error = _library(), ctypes.c_char_p()
    buffer = library.LLVMPY_TargetMachineEmitToMemory(
        machine._ptr, module._ptr, 1, ctypes.byref(error)
    )
    if not buffer:
        raise VerificationError(f"LLVM makes no code: {error.value!r}")
    try:
        start, size = (
            library.LLVMPY_GetBufferStart(buffer),
            library.LLVMPY_GetBufferSize(buffer),
        )
        return ctypes.string_at(start, size)
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


@cache
def _library() -> ctypes.CDLL:
    """llvmlite's library, with the types of those functions that ``_emit`` calls."""
    pointer = ctypes.c_void_p
    library = ctypes.CDLL(llvm.ffi.lib._name)
    emit = library.LLVMPY_TargetMachineEmitToMemory
    emit.argtypes, emit.restype = [pointer, pointer, ctypes.c_int, pointer], pointer
    for name, result in (("Start", pointer), ("Size", ctypes.c_size_t)):
        function = getattr(library, f"LLVMPY_GetBuffer{name}")
        function.argtypes, function.restype = [pointer], result
    library.LLVMPY_DisposeMemoryBuffer.argtypes = [pointer]
    return library


def _parse(llvm_ir: str) -> llvm.ModuleRef:
    try:
        module = llvm.parse_assembly(llvm_ir, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise VerificationError(f"LLVM does not accept the module: {error}\n{llvm_ir}") from error
    return module


def _target_machine(cpu: str, text: str) -> llvm.TargetMachine:
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=text, opt=CODE_GENERATION_LEVEL, reloc="pic", codemodel="small", jit=True
    )


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def _lljit() -> llvm.LLJIT:
    _initialize()
    ctypes.CDLL("libm.so.6", mode=ctypes.RTLD_GLOBAL)
    return llvm.create_lljit_compiler(use_jit_link=True)
