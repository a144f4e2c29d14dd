"""Who must go so that a model fits: a pure function of what runs, what it holds and what there is."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

__all__ = ["Memory", "Resident", "Room", "make_room"]


class Memory(Struct, frozen=True):
    """Bytes of main memory, and of the graphics cards' own."""

    ram_bytes: int
    vram_bytes: int = 0

    def __add__(self, other: Memory) -> Memory:
        """The sum of both kinds."""
        return Memory(self.ram_bytes + other.ram_bytes, self.vram_bytes + other.vram_bytes)

    def __sub__(self, other: Memory) -> Memory:
        """The difference of both kinds."""
        return Memory(self.ram_bytes - other.ram_bytes, self.vram_bytes - other.vram_bytes)

    def holds(self, need: Memory) -> bool:
        """Whether both kinds suffice for `need`."""
        return need.ram_bytes <= self.ram_bytes and need.vram_bytes <= self.vram_bytes


class Resident(Struct, frozen=True):
    """A model that holds memory. `idle_since_s` is a monotonic time, None while it is busy, loading or
    ending: such a one is never evicted.
    """

    name: str
    memory: Memory
    idle_since_s: float | None


class Room(Struct, frozen=True):
    """How a model gets its memory: evict `evict` and load it now, if `wait_for` is empty.

    Else it does not fit yet: nothing is evicted, and it must wait until those that `wait_for` names
    are idle or gone. `impossible` says that it does not fit even alone.
    """

    evict: tuple[str, ...] = ()
    wait_for: tuple[str, ...] = ()
    impossible: bool = False


def make_room(need: Memory, budget: Memory, residents: Sequence[Resident]) -> Room:
    """Decide what must go for a model that needs `need`: the longest idle first, no more than needed.

    One whose going frees nothing of the kind that lacks is not evicted. Where the idle ones do not
    suffice, the busy ones are waited for, in the order given, as many as are needed.
    """
    if not budget.holds(need):
        return Room(impossible=True)
    free = budget
    for each in residents:
        free -= each.memory
    idle = sorted(
        (each for each in residents if each.idle_since_s is not None),
        key=lambda each: each.idle_since_s or 0.0,
    )
    evicted, free = _until_it_fits(need, free, idle)
    if free.holds(need):
        return Room(evict=_without_spares(need, free, evicted))
    busy = [each for each in residents if each.idle_since_s is None]
    waited, _ = _until_it_fits(need, free, busy)
    return Room(wait_for=tuple(each.name for each in waited))


def _until_it_fits(
    need: Memory, free: Memory, candidates: Sequence[Resident]
) -> tuple[list[Resident], Memory]:
    chosen: list[Resident] = []
    for each in candidates:
        if free.holds(need):
            break
        lacks_ram = need.ram_bytes > free.ram_bytes and each.memory.ram_bytes > 0
        lacks_vram = need.vram_bytes > free.vram_bytes and each.memory.vram_bytes > 0
        if lacks_ram or lacks_vram:
            chosen.append(each)
            free += each.memory
    return chosen, free


def _without_spares(need: Memory, free: Memory, evicted: list[Resident]) -> tuple[str, ...]:
    """Leave out those without which it fits all the same: a small one may have gone before a large one."""
    kept = []
    for each in reversed(evicted):  # The one that was used last is spared first.
        if (free - each.memory).holds(need):
            free -= each.memory
        else:
            kept.append(each.name)
    return tuple(reversed(kept))
