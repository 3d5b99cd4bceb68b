"""Every SNIPJIT_* knob, read when it is needed so that a test or a shell can set it at any time.

==================  ==========================================================================
SNIPJIT_DUMP=dir    write every stage of every subgraph to numbered files below ``dir``
SNIPJIT_TARGET=row  compile for this row of ``target_machine.py`` instead of the host's best
SNIPJIT_VERIFY=1    run the stage's verifier after every pass
==================  ==========================================================================
"""

from __future__ import annotations

import os
from pathlib import Path


def dump_directory() -> Path | None:
    """Where dumps go; None if they are off."""
    directory = os.environ.get("SNIPJIT_DUMP")
    return Path(directory) if directory else None


def verify_passes() -> bool:
    """Whether a verifier runs after each pass."""
    return os.environ.get("SNIPJIT_VERIFY", "0") not in ("", "0")
