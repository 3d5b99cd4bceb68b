"""Every SNIPJIT_* knob, read when it is needed so that a test or a shell can set it at any time.

==================  ==========================================================================
SNIPJIT_CACHE=dir   keep kernels in ``dir`` (by default ``snipjit`` below ``XDG_CACHE_HOME`` or
                    ``~/.cache``); 0, off or nothing keeps none
SNIPJIT_DUMP=dir    write every stage of every subgraph to numbered files below ``dir``
SNIPJIT_TARGET=row  compile for this row of ``target/target_machine.py`` instead of the host's best
SNIPJIT_VERIFY=1    run the stage's verifier after every pass; ``final``: after the last one
==================  ==========================================================================
"""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """Where kernels are kept between processes; None if they are not, as while dumps are on."""
    chosen = os.environ.get("SNIPJIT_CACHE")
    if chosen in ("", "0", "off") or dump_directory() is not None:
        return None
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        if chosen is not None:
            return Path(chosen).expanduser()
        return (Path(home) if home else Path.home() / ".cache") / "snipjit"
    except RuntimeError:  # no home directory, or not that user's
        return None


def target_name() -> str | None:
    """The row of ``target/target_machine.py`` to compile for; None for the host's best."""
    return os.environ.get("SNIPJIT_TARGET") or None


def dump_directory() -> Path | None:
    """Where dumps go; None if they are off."""
    directory = os.environ.get("SNIPJIT_DUMP")
    return Path(directory) if directory else None


def verify_stages() -> bool:
    """Whether a verifier looks at what a stage makes."""
    return os.environ.get("SNIPJIT_VERIFY", "0") not in ("", "0")


def verify_passes() -> bool:
    """Whether it does so after each pass."""
    return verify_stages() and os.environ.get("SNIPJIT_VERIFY") != "final"
