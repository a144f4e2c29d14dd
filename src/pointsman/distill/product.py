"""Matrix products on the thread that asks for them."""

from __future__ import annotations

from typing import Any

__all__ = ["product"]

# OpenBLAS takes threads of its own for products from 262,144 multiplications up. Two networks learn at
# a time already, and would wait for each other's: that took nearly three times the processor's time.
# Source: OpenBLAS 0.3.31, interface/gemm.c, SMP_THRESHOLD_MIN x GEMM_MULTITHREAD_THRESHOLD.
MOST_MULTIPLICATIONS = 250_000


def product(one: Any, other: Any) -> Any:
    """Give `one` (n, k) x `other` (k, m), float32, in pieces too small for threads."""
    import numpy as np

    most = max(1, MOST_MULTIPLICATIONS // (one.shape[1] * other.shape[1]))
    if len(one) <= most:
        return one @ other
    found = np.empty((len(one), other.shape[1]), np.float32)
    for begin in range(0, len(one), most):
        np.matmul(one[begin : begin + most], other, out=found[begin : begin + most])
    return found
