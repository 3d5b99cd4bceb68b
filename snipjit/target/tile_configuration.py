"""The configuration of AMX: registers of 16 rows of 64 bytes, all of their full size."""

from __future__ import annotations

SIDE = 16
"""Rows of a register, and elements of 32 bits in each."""

REGISTERS = 8

PALETTE = 1


def configuration() -> bytes:
    """All registers with all of their rows and bytes, as ``ldtilecfg`` reads it.

    64 bytes: the palette, from byte 16 the bytes of a row of each register as i16, from byte 48 the
    rows of each (Intel's manual, volume 1, section 18.2).
    """
    content = bytearray(64)
    content[0] = PALETTE
    for register in range(REGISTERS):
        content[16 + 2 * register] = 4 * SIDE
        content[48 + register] = SIDE
    return bytes(content)
