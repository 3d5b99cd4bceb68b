"""Commands about this machine: what the host can do, and the kernels kept on its disk."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version

import torch

from snipjit.cli.lines import print_line
from snipjit.errors import InputError
from snipjit.runtime.disk_cache import disk_cache
from snipjit.runtime.engine import host_features
from snipjit.runtime.host import may_execute
from snipjit.target import target_machine
from snipjit.version import __version__

KNOBS = ("SNIPJIT_CACHE", "SNIPJIT_DUMP", "SNIPJIT_TARGET", "SNIPJIT_VERIFY")
"""The environment variables snipjit reads; CONTRIBUTING.md says what they do."""


def cache(options: argparse.Namespace) -> int:
    """Show where kernels are kept between processes and how many there are, or delete them."""
    disk = disk_cache()
    if disk is None:
        print_line("cache", "off: SNIPJIT_CACHE=0, or dumps are on")
        return 0
    stayed: list[OSError] = []
    if options.clear:
        deleted, stayed = disk.clear()
        print_line("deleted", f"{deleted} files")
    print_line("cache", str(disk.directory))
    print_line("kept", f"{len(disk.entries())} files, {disk.bytes() / 2**20:.1f} MiB")
    if (problem := disk.problem()) is not None:
        print_line("problem", f"nothing more is kept: {problem}")
    if stayed:
        raise InputError(f"cannot delete: {'; '.join(map(str, stayed))}")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print what snipjit knows of this machine and of itself."""
    features = host_features()
    usable = [row.name for row in target_machine.rows_for(features)]
    packages = ("torch", "llvmlite", "numpy", "networkx")
    print_line("snipjit", f"{__version__}, Python {platform.python_version()}")
    print_line("packages", ", ".join(f"{name} {version(name)}" for name in packages))
    print_line("host", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")
    print_line("threads", str(torch.get_num_threads()))
    print_line(
        "target", f"{target_machine.select(features).name} (this host runs: {', '.join(usable)})"
    )
    for row in target_machine.TARGETS:
        missing = [name for name in row.features if name not in features]
        needs = f"needs {' '.join(row.features) or 'nothing'}"
        print_line("", f"{row.name}: {needs}{'; missing ' + ' '.join(missing) if missing else ''}")
    print_line("features", " ".join(sorted(features)))
    if not may_execute():
        print_line("memory", "may not become executable: every model runs without kernels")
    for knob in KNOBS:
        if knob in os.environ:
            print_line("set", f"{knob}={os.environ[knob]}")
    return 0
