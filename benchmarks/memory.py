"""Memory of this process, as the system tells it; 0 where it does not."""

from __future__ import annotations

from contextlib import suppress


def resident() -> int:
    """Bytes that it holds."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that it has held since the peak was forgotten."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak be what it holds now; where the system does not allow it, it stays."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _status(name: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        return 0
    return 1024 * int(fields[name].split()[0])
