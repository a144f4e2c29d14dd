"""What a candidate's answers cost for each dollar that was expected: their length, learned from the bills.

Every answer tells its cost, whoever says a word of how good it was. Prices are in both numbers alike, so a
change of price leaves their ratio as it is.
"""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Expense", "noted"]

# As many answers that cost what was expected are believed in beforehand.
BELIEVED = 20.0
# Half of what an answer says is forgotten after so many more of the candidate.
HALF_LIFE_ANSWERS = 1000.0
# One answer counts as so many times what was expected, at most.
MOST = 20.0
_KEEP = 0.5 ** (1.0 / HALF_LIFE_ANSWERS)


class Expense(Struct, frozen=True, array_like=True):
    """The faded sum of answers' costs, each in units of the one expected, and how many they are."""

    ratios: float = 0.0
    answers: float = 0.0

    @property
    def factor(self) -> float:
        """What an answer costs for each dollar that is expected; 1 before any."""
        return (self.ratios + BELIEVED) / (self.answers + BELIEVED)


def noted(before: Expense | None, expected_usd: float, paid_usd: float) -> Expense | None:
    """Give what is known after one more answer; what was before, where nothing was expected."""
    if not (expected_usd > 0.0 and paid_usd >= 0.0):
        return before
    old = before or Expense()
    ratio = min(paid_usd / expected_usd, MOST)
    return Expense(_KEEP * old.ratios + ratio, _KEEP * old.answers + 1.0)
