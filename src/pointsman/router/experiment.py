"""A/B: who gets the variant, and whether it did better. Pure."""

from __future__ import annotations

import math
from hashlib import blake2b

from msgspec import Struct

__all__ = ["Arm", "Verdict", "assigned", "seed_of", "verdict_of"]

# Normal quantile of a two-sided 95 % interval.
Z95 = 1.959964
SIGNIFICANT = 0.05


class Arm(Struct, frozen=True):
    """One side: requests that got a verdict, the sum of those (0 to 1 each), all requests, their cost."""

    name: str
    judged: int
    good: float
    requests: int
    cost_usd: float

    @property
    def rate(self) -> float:
        """The mean verdict; 0 without one."""
        return self.good / self.judged if self.judged else 0.0


class Verdict(Struct, frozen=True):
    """How the variant compares. `difference` is its rate less the control's, with a 95 % interval.

    `p_value` is two-sided; `significant` holds it against 0.05. None where too little is known.
    """

    control: Arm
    variant: Arm
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    significant: bool
    test: str = "two-proportion z-test, pooled; the interval is Newcombe's hybrid score one"


def assigned(name: str, share: float, unit: bytes) -> bool:
    """Whether a conversation gets the variant: always the same for one unit, a `share` of all units."""
    digest = blake2b(unit, digest_size=8, person=name.encode("utf-8", "replace")[:16]).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


def seed_of(*parts: bytes) -> int:
    """Give a number to draw by that is the same for the same parts, in every process."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return int.from_bytes(digest.digest(), "big")


def verdict_of(control: Arm, variant: Arm) -> Verdict:
    """Compare two sides by the verdicts on their answers.

    Verdicts between 0 and 1 are taken as so much of a success, which makes the test careful: they
    vary less than successes would. It is meant for a number of requests fixed before: whoever looks
    again and again will find significance by chance.

    Source: Newcombe, "Interval estimation for the difference between independent proportions",
    Statistics in Medicine 17 (1998), method 10.
    """
    if min(control.judged, variant.judged) < 2:
        return Verdict(control, variant, None, None, None, None, significant=False)
    n, m = control.judged, variant.judged
    difference = variant.rate - control.rate
    pooled = (control.good + variant.good) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if spread == 0.0:
        p_value = 1.0
    else:
        p_value = math.erfc(abs(difference) / spread / math.sqrt(2))
    low0, high0 = _wilson(control.rate, n)
    low1, high1 = _wilson(variant.rate, m)
    low = difference - math.hypot(variant.rate - low1, high0 - control.rate)
    high = difference + math.hypot(high1 - variant.rate, control.rate - low0)
    return Verdict(
        control,
        variant,
        round(difference, 6),
        round(low, 6),
        round(high, 6),
        round(p_value, 6),
        significant=p_value < SIGNIFICANT,
    )


def _wilson(rate: float, count: int) -> tuple[float, float]:
    z2 = Z95 * Z95
    middle = rate + z2 / (2 * count)
    half = Z95 * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count * count))
    scale = 1 + z2 / count
    return (middle - half) / scale, (middle + half) / scale
