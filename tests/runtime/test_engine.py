"""Tests of ``snipjit/runtime/engine.py``."""

from __future__ import annotations

import ctypes
import os
import threading

import llvmlite.binding as llvm
import numpy as np
import pytest

from snipjit.compiler import emit, lower, optimize
from snipjit.errors import LinkError, SnipjitError, VerificationError
from snipjit.runtime.engine import assembly, compile_object, host_features, load
from snipjit.target.target_machine import PORTABLE, TARGETS, TargetMachine, rows_for
from tests import subgraphs
from tests.kernels import small
from tests.narrow import narrowed

ADD_ONE = """
define void @kernel(ptr %a) {
  %v = load <16 x float>, ptr %a, align 4
  %w = fadd <16 x float> %v, splat (float 1.0)
  store <16 x float> %w, ptr %a, align 4
  ret void
}
"""

CALLS_LIBM = """
declare float @expf(float)
define void @kernel(ptr %a) {
  %x = load float, ptr %a
  %y = call float @expf(float %x)
  store float %y, ptr %a
  ret void
}
"""

CALLS_IMPORT = """
declare void @elsewhere(ptr)
define void @kernel(ptr %a) {
  call void @elsewhere(ptr %a)
  ret void
}
"""


def run(address: int, values: np.ndarray) -> np.ndarray:
    data = values.astype(np.float32)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(data.ctypes.data)
    return data


def row(name: str) -> TargetMachine:
    return next(row for row in TARGETS if row.name == name)


@pytest.mark.parametrize("target", rows_for(host_features()), ids=lambda row: row.name)
def test_each_row_runs(target: TargetMachine) -> None:
    loaded = load(compile_object(ADD_ONE, target), "kernel")
    assert np.array_equal(run(loaded.address, np.arange(16)), np.arange(16) + 1)


def test_rows_use_their_registers_and_no_wider() -> None:
    wide = {row.name: assembly(ADD_ONE, row) for row in TARGETS}
    assert "%zmm0" in wide["avx512"]
    assert "%ymm0" in wide["avx2"]
    assert "%zmm" not in wide["avx2"]
    assert "vaddps" not in wide["portable"]
    assert "%ymm" not in wide["portable"]


def test_portable_has_no_fused_multiply_add() -> None:
    text = """
    declare <4 x float> @llvm.fmuladd.v4f32(<4 x float>, <4 x float>, <4 x float>)
    define <4 x float> @kernel(<4 x float> %a, <4 x float> %b, <4 x float> %c) {
      %r = call <4 x float> @llvm.fmuladd.v4f32(<4 x float> %a, <4 x float> %b, <4 x float> %c)
      ret <4 x float> %r
    }
    """
    assert "mulps" in assembly(text, row("portable"))
    assert "vfmadd" not in assembly(text, row("portable"))
    assert "vfmadd" in assembly(text, row("avx2"))


def test_functions_of_the_process_and_imports_are_found() -> None:
    portable = row("portable")
    loaded = load(compile_object(CALLS_LIBM, portable), "kernel")
    assert run(loaded.address, np.array([1.0])) == pytest.approx(np.e)
    importing = load(
        compile_object(CALLS_IMPORT, portable), "kernel", {"elsewhere": loaded.address}
    )
    assert run(importing.address, np.array([0.0])) == pytest.approx(1.0)


def test_the_portable_row_compiles_for_another_architecture() -> None:
    """Its LLVM IR names nothing of x86: AArch64 is another triple. Nothing is executed."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("aarch64-unknown-linux-gnu").create_target_machine(opt=2)
    for example in ("attention_padding", "sdpa_causal", "softmax_alone"):
        for dtype in ("f32", "bf16", "f16"):
            subgraph = subgraphs.ALL[example]()
            narrow = subgraph if dtype == "f32" else narrowed(subgraph, dtype)
            lir = lower(optimize(narrow), small(row("portable")))
            with llvm.parse_assembly(emit(lir, row("portable"))) as module:
                module.verify()
                text = machine.emit_assembly(module)
            assert "fmul\tv" in text or "fmla\tv" in text
            assert "xmm" not in text


def test_the_same_text_gives_the_same_object_code() -> None:
    assert compile_object(ADD_ONE, TARGETS[0]) == compile_object(ADD_ONE, TARGETS[0])


def test_bad_text_is_shown() -> None:
    with pytest.raises(VerificationError, match=r"expected type[\s\S]*define foo"):
        compile_object("define foo", TARGETS[0])


@pytest.mark.parametrize("code", [b"", b"no object", None])
def test_objects_that_do_not_link_are_errors(code: bytes | None) -> None:
    with pytest.raises(LinkError, match="does not link"):
        load(compile_object(CALLS_IMPORT, PORTABLE) if code is None else code, "kernel")


def test_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(SnipjitError, match="nowhere"):
        load(compile_object(ADD_ONE, PORTABLE), "nowhere")


def test_many_threads_compile_at_once() -> None:
    results: list[np.ndarray] = []

    def work() -> None:
        loaded = load(compile_object(ADD_ONE, PORTABLE), "kernel")
        results.append(run(loaded.address, np.zeros(16)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(np.stack(results), np.ones((8, 16)))


def test_code_is_unloaded_with_its_last_reference() -> None:
    code = compile_object(ADD_ONE, PORTABLE)
    for _ in range(200):
        load(code, "kernel")
    assert os.path.exists("/proc/self/maps")
    with open("/proc/self/maps") as maps:
        assert len(maps.readlines()) < 5000
