"""A route's money for a day: what is spent, what is promised, and what a request may cost on average.

Days are UTC's. A request's most is set aside when it is decided, and what it cost replaces that once it
is known: so what runs at the same time cannot spend the same money.
"""

from __future__ import annotations

__all__ = ["DAY_S", "Budget"]

DAY_S = 86_400
HOUR_S = 3600
# Before so many requests nothing is said of how many will come.
LEAST_REQUESTS = 20


class Budget:
    """What is left of `usd_per_day`. Times are Unix seconds, given by the caller."""

    def __init__(self, usd_per_day: float) -> None:
        self.usd_per_day = usd_per_day
        self.spent_usd = 0.0
        self.reserved_usd = 0.0
        self._day = 0
        self._hours: dict[int, int] = {}
        self._since_s: float | None = None

    def left_usd(self, now_s: float) -> float:
        """Give what may still be promised today."""
        self._turn(now_s)
        return self.usd_per_day - self.spent_usd - self.reserved_usd

    def reserve(self, usd: float, now_s: float) -> None:
        """Set a request's most aside, and count the request."""
        self._turn(now_s)
        self.reserved_usd += usd
        if self._since_s is None:
            self._since_s = now_s
        hour = int(now_s // HOUR_S)
        self._hours[hour] = self._hours.get(hour, 0) + 1
        for old in [each for each in self._hours if each <= hour - 24]:
            del self._hours[old]

    def settle(self, reserved_usd: float, cost_usd: float, now_s: float) -> None:
        """Note what a request cost, in place of what was set aside for it."""
        self._turn(now_s)
        self.reserved_usd = max(self.reserved_usd - reserved_usd, 0.0)
        self.spent_usd += cost_usd

    def resume(self, spent_usd: float, now_s: float) -> None:
        """Note what was spent today before this process began."""
        self._turn(now_s)
        self.spent_usd += spent_usd

    def per_request_usd(self, now_s: float) -> float | None:
        """Give what a request may cost on average if the rest of the day goes as the last 24 hours did;
        None while too little is known."""
        self._turn(now_s)
        seen = sum(self._hours.values())
        if seen < LEAST_REQUESTS or self._since_s is None:
            return None
        watched_s = min(max(now_s - self._since_s, 60.0), float(DAY_S))
        to_come = seen / watched_s * (DAY_S - now_s % DAY_S)
        return max(self.left_usd(now_s), 0.0) / max(to_come, 1.0)

    def _turn(self, now_s: float) -> None:
        day = int(now_s // DAY_S)
        if day != self._day:
            self._day = day
            self.spent_usd = 0.0
