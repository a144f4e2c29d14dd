"""Makes the table small: 4 bits a number, one scale for each column, two numbers in a byte."""

from __future__ import annotations

from typing import Any

__all__ = ["pack", "rounded", "scales", "unpack"]

LOWEST, HIGHEST = -8, 7
# The range reaches this many standard deviations: a wider one wastes levels on outliers.
REACH = 3.0


def scales(table: Any) -> Any:
    """Give the scale of each column of a float table (rows, width)."""
    import numpy as np

    spread = np.sqrt(np.einsum("ij,ij->j", table, table) / max(len(table), 1))
    return (spread * (REACH / HIGHEST) + 1e-12).astype(np.float32)


def rounded(table: Any, scale: Any) -> Any:
    """Give the table as it is once packed: each number the nearest of 16 multiples of its scale."""
    return _levels(table, scale) * scale


def pack(table: Any, scale: Any) -> Any:
    """Give (rows, width / 2) uint8: the first half of each row's levels in the high bits."""
    import numpy as np

    levels = (_levels(table, scale) - LOWEST).astype(np.uint8)
    half = table.shape[1] // 2
    return levels[:, :half] << 4 | levels[:, half:]


def unpack(packed: Any, scale: Any) -> Any:
    """Give what `pack` packed, as `rounded` gives it."""
    import numpy as np

    levels = np.concatenate([packed >> 4, packed & 15], axis=1).astype(np.float32)
    return (levels + LOWEST) * scale


def _levels(table: Any, scale: Any) -> Any:
    import numpy as np

    found = table / scale
    np.rint(found, out=found)
    return np.clip(found, LOWEST, HIGHEST, out=found)
