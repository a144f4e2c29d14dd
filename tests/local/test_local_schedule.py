"""Eviction as a pure function: the longest idle first, never a busy one, no more than needed."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pointsman.local.schedule import Memory, Resident, Room, make_room


def ram(name: str, size: int, idle_since_s: float | None) -> Resident:
    return Resident(name, Memory(size), idle_since_s)


def test_what_fits_evicts_nobody() -> None:
    assert make_room(Memory(4), Memory(10), [ram("a", 6, 1.0)]) == Room()


def test_the_longest_idle_goes_first_and_no_more_than_needed() -> None:
    running = [ram("new", 4, 9.0), ram("old", 4, 1.0), ram("busy", 2, None)]
    assert make_room(Memory(3), Memory(10), running) == Room(evict=("old",))
    assert make_room(Memory(5), Memory(10), running) == Room(evict=("old", "new"))


def test_a_small_one_is_spared_where_a_large_one_must_go_anyway() -> None:
    running = [ram("small", 1, 1.0), ram("large", 8, 2.0)]
    assert make_room(Memory(8), Memory(10), running) == Room(evict=("large",))


def test_busy_ones_are_waited_for_and_nobody_is_evicted_meanwhile() -> None:
    running = [ram("busy", 6, None), ram("idle", 3, 1.0)]
    assert make_room(Memory(8), Memory(10), running) == Room(wait_for=("busy",))


def test_what_does_not_fit_alone_is_impossible() -> None:
    assert make_room(Memory(11), Memory(10), [ram("a", 6, 1.0)]) == Room(impossible=True)
    assert make_room(Memory(1, 3), Memory(10, 2), []) == Room(impossible=True)


def test_one_that_frees_nothing_of_the_kind_that_lacks_stays() -> None:
    running = [
        Resident("on the cpu", Memory(6, 0), 1.0),
        Resident("on the card", Memory(1, 6), 2.0),
    ]
    assert make_room(Memory(1, 4), Memory(20, 8), running) == Room(evict=("on the card",))


residents = st.lists(
    st.tuples(
        st.integers(1, 8), st.integers(0, 8), st.one_of(st.none(), st.integers(0, 9).map(float))
    ),
    max_size=6,
).map(lambda rows: [Resident(str(i), Memory(r, v), t) for i, (r, v, t) in enumerate(rows)])


@given(
    st.builds(Memory, st.integers(1, 20), st.integers(0, 20)),
    st.builds(Memory, st.integers(1, 30), st.integers(0, 30)),
    residents,
)
def test_whatever_runs(need: Memory, budget: Memory, running: list[Resident]) -> None:
    room = make_room(need, budget, running)
    by_name = {each.name: each for each in running}
    assert all(by_name[name].idle_since_s is not None for name in room.evict)
    assert all(by_name[name].idle_since_s is None for name in room.wait_for)
    assert room.impossible == (not budget.holds(need))
    if room.impossible:
        assert not room.evict and not room.wait_for
        return

    def fits_without(names: tuple[str, ...]) -> bool:
        free = budget
        for each in running:
            if each.name not in names:
                free -= each.memory
        return free.holds(need)

    idle = tuple(each.name for each in running if each.idle_since_s is not None)
    if room.wait_for:
        assert not room.evict and not fits_without(idle)
    elif fits_without(idle):
        assert fits_without(room.evict)
        for fewer in combinations(room.evict, max(0, len(room.evict) - 1)):
            assert not room.evict or not fits_without(fewer)
