"""Tests of ``snipjit/runtime/host.py``: what a process must be, and what interrupts it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
import threading

import pytest

from snipjit.errors import UnsupportedError
from snipjit.runtime import host

PROGRAM = """
import os, signal, sys, warnings
warnings.filterwarnings("ignore")
import torch, snipjit

torch.manual_seed(0)
def attend(q, scale): return torch.softmax(q @ q.mT * scale, -1) @ q
q = torch.randn(2, 3, 40, 16)

def interrupt(handler):
    # A signal while a thread holds the lock, between two calls of LLVM.
    from snipjit.runtime import engine
    parse = engine._parse
    def interrupted(*args):
        engine._parse = parse
        signal.raise_signal(signal.SIGUSR1)
        return parse(*args)
    signal.signal(signal.SIGUSR1, handler)
    engine._parse = interrupted
"""


def run(body: str) -> list[str]:
    """The lines that a process of its own prints; it must end by itself."""
    environment = {**os.environ, "SNIPJIT_CACHE": "0", "SNIPJIT_VERIFY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(body)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_handler_may_fork_while_llvm_works() -> None:
    assert run("""
        compiled = torch.compile(attend, backend="snipjit", dynamic=True)
        statuses = []
        def fork(*_):
            child = os.fork()
            if not child: os._exit(7)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        interrupt(fork)
        with torch.inference_mode(): result = compiled(q, 0.3)
        torch.testing.assert_close(result, attend(q, 0.3))
        print(statuses, snipjit.stats().kernels_compiled)
        """) == ["[7] 1"]


def test_a_handler_may_need_another_kernel_while_llvm_works() -> None:
    assert run("""
        few = q[:, :, :3].contiguous()
        programs = [snipjit.compile(lambda q: attend(q, s) + s, (q,)) for s in (0.5, 2.0)]
        results = []
        interrupt(lambda *_: results.append(programs[1](few)))
        results.append(programs[0](q))
        torch.testing.assert_close(results[0], attend(few, 2.0) + 2.0)
        torch.testing.assert_close(results[1], attend(q, 0.5) + 0.5)
        print(snipjit.stats().kernels_compiled)
        """) == ["2"]


def test_a_fork_waits_for_another_thread() -> None:
    entered, events = threading.Event(), list[str]()

    def compile() -> None:
        with host.LOCK:
            entered.set()
            threading.Event().wait(0.2)
            events.append("compiled")

    thread = threading.Thread(target=compile)
    thread.start()
    entered.wait()
    child = os.fork()
    if not child:
        os._exit(0 if host.LOCK.acquire(timeout=5) else 1)
    events.append("forked")
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert events == ["compiled", "forked"]


def test_without_executable_memory_pytorch_runs_the_model() -> None:
    lines = run("""
        import ctypes
        from snipjit.runtime.host import may_execute
        compiled = torch.compile(attend, backend="snipjit", dynamic=True)
        before = may_execute()
        if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, since Linux 6.3
            print("unknown")
            sys.exit()
        with torch.inference_mode(): result = compiled(q, 0.3)
        torch.testing.assert_close(result, attend(q, 0.3))
        (refusal,) = snipjit.stats().refusals
        print(before, may_execute(), "MemoryDenyWriteExecute" in refusal.reason)
        print(snipjit.stats().kernels, "refused" in str(snipjit.explain(attend, q, 0.3)))
        """)
    if lines == ["unknown"]:
        pytest.skip("this kernel does not know PR_SET_MDWE")
    assert lines == ["True False True", "0 True"]


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "aarch64")]
)
def test_other_systems_are_refused(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(UnsupportedError, match=f"x86-64 Linux; this is .* on {machine}"):
        host.require_platform()


def test_other_systems_import_the_package_and_are_told_in_one_sentence() -> None:
    lines = run("""
        for name in [name for name in sys.modules if name.startswith("snipjit")]:
            del sys.modules[name]
        import platform
        sys.platform, platform.machine = "win32", lambda: "ARM64"
        platform.system = lambda: "Windows"
        del os.register_at_fork
        import snipjit, snipjit.cli.commands
        import snipjit.frontend.torch_backend, snipjit.frontend.explanation
        uses = (
            lambda: snipjit.backend(None, ()),
            lambda: snipjit.compile(torch.nn.Identity(), (q,)),
            lambda: snipjit.explain(torch.nn.Identity(), q),
        )
        for use in uses:
            try: use()
            except snipjit.UnsupportedError as error: print(error)
        """)
    told = "snipjit compiles for x86-64 Linux; this is Windows on ARM64: run the model without it"
    assert lines == [told] * 3
