"""The numpy twin of the graph's first half: texts in, the buckets of their n-grams out.

`graph` builds the same steps from ONNX operators; a property test holds the two to each other. All
arithmetic is on integers that stay below 2^63, so every runtime computes the same buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from pointsman.distill.folding import BLOCK, BLOCKS, SINGLE, SPACE, WORD, tables

__all__ = ["Bags", "Scheme", "bags", "codes", "scheme"]

START, END = 2, 3
LAST_CODE = 0x10FFFF
# What follows a text, so that the last character can be read with the three bytes after it.
PAST_END = b"\x80\x80\x80"
WORD_PRIME = 2**31 - 1
# The place of a character in its word counts up to here; the rest of a longer word shares the last.
WORD_CHARS = 32


class Scheme(Struct, frozen=True):
    """How n-grams become buckets; arrays of int64.

    `buckets` is a prime. `chars` (longest, orders) are the weights of a window of characters,
    `places` (WORD_CHARS,) those of the characters of a word, `words` (longest, orders) those of a
    window of words; a weight of 0 leaves its place out.
    """

    buckets: int
    chars: Any
    places: Any
    words: Any


class Bags(Struct, frozen=True):
    """The buckets of texts, one after the other: text i has those from `starts[i]` to `starts[i+1]`."""

    buckets: Any
    starts: Any


def scheme(
    buckets: int,
    *,
    orders: Sequence[int] = (2, 3, 4),
    words: Sequence[Sequence[int]] = ((1,), (1, 1), (1, 0, 1)),
    seed: int = 0,
) -> Scheme:
    """Give a scheme of the largest prime number of buckets up to `buckets`."""
    import numpy as np

    size = _prime(buckets)
    numbers = _numbers(seed)
    chars = np.zeros((max(orders, default=1), len(orders)), np.int64)
    for column, order in enumerate(orders):
        for place in range(order):
            chars[place, column] = 1 + next(numbers) % (size - 1)
    places = np.array([1 + next(numbers) % (2**20 - 1) for _ in range(WORD_CHARS)], np.int64)
    window = np.zeros((max(map(len, words), default=1), len(words)), np.int64)
    for column, pattern in enumerate(words):
        for place, used in enumerate(pattern):
            window[place, column] = used * (1 + next(numbers) % (2**30 - 1))
    return Scheme(size, chars, places, window)


def bags(texts: Sequence[bytes], how: Scheme) -> Bags:
    """Give the buckets of all n-grams of the texts, repeated as often as they occur."""
    import numpy as np

    count = len(texts)
    code, owner = codes(texts)
    longest = len(how.chars)
    found: list[Any] = []
    owners: list[Any] = []
    padded = np.concatenate([code, np.zeros(longest, np.int64)])
    inside = code > 0
    for column in range(how.chars.shape[1]):
        total = np.zeros(len(code), np.int64)
        for place in range(longest):
            if how.chars[place, column]:
                total += how.chars[place, column] * padded[place : place + len(code)]
        found.append((total % how.buckets)[inside])
        owners.append(owner[inside])
    word, word_owner = _words(code, owner, how)
    for column in range(how.words.shape[1]):
        total = np.zeros(len(word), np.int64)
        for place in range(len(how.words)):
            total += how.words[place, column] * _later(word, word_owner, place)
        found.append(total % WORD_PRIME % how.buckets)
        owners.append(word_owner)
    order = np.argsort(np.concatenate(owners), kind="stable")
    starts = np.searchsorted(np.concatenate(owners)[order], np.arange(count + 1))
    return Bags(np.concatenate(found)[order], starts)


def codes(texts: Sequence[bytes]) -> tuple[Any, Any]:
    """Give the folded characters of the texts and whose they are; zeros part one from the next."""
    import numpy as np

    table = tables()
    data = np.frombuffer(b"".join(b" %s %s" % (text, PAST_END) for text in texts), np.uint8)
    sizes = np.array([len(text) + 2 + len(PAST_END) for text in texts])
    owner = np.repeat(np.arange(len(texts)), sizes)
    place = np.arange(len(data)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.flatnonzero(table.lead[data])
    lead = data[kept]
    more = table.more[lead]
    point = table.base[more].astype(np.int64)
    for step in range(4):
        point += table.steps[more, step] * data[kept + step].astype(np.int64)
    point = np.clip(point, 0, LAST_CODE)
    block = np.minimum(point // BLOCK, BLOCKS - 1)
    target = table.targets[table.rows[block].astype(np.int64) * BLOCK + point % BLOCK]
    code = np.where(target > 0, target, point).astype(np.int64)
    first = place[kept] == 0
    blank = code == 32
    doubled = blank & np.concatenate([[False], blank[:-1]]) & ~first
    code, owner = code[~doubled], owner[kept][~doubled]
    return _framed(code, owner, len(texts))


def _framed(code: Any, owner: Any, count: int) -> tuple[Any, Any]:
    """Each text between START and END, and zeros enough after it that no window leaves it."""
    import numpy as np

    gap = 8
    sizes = np.bincount(owner, minlength=count)
    begins = np.cumsum(sizes + 2 + gap) - (sizes + 2 + gap)
    framed = np.zeros(int((sizes + 2 + gap).sum()), np.int64)
    inner = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    framed[np.repeat(begins, sizes) + 1 + inner] = code
    framed[begins] = START
    framed[begins + sizes + 1] = END
    return framed, np.repeat(np.arange(count), sizes + 2 + gap)


def _words(code: Any, owner: Any, how: Scheme) -> tuple[Any, Any]:
    import numpy as np

    kind = _kinds(code)
    before = np.concatenate([[0], kind[:-1]])
    start = (kind == SINGLE) | ((kind == WORD) & (before != WORD))
    begins = np.flatnonzero(start)
    place = np.arange(len(code)) - begins[np.maximum(np.cumsum(start) - 1, 0)]
    part = np.where(kind != SPACE, code * how.places[np.clip(place, 0, WORD_CHARS - 1)], 0)
    return np.add.reduceat(part, begins) % WORD_PRIME, owner[begins]


def _kinds(code: Any) -> Any:
    """Give the class of each folded code: a space, a part of a word, a word by itself."""
    import numpy as np

    block = 128 + np.minimum(code // BLOCK, BLOCKS - 1)
    return tables().classes[np.where(code < 128, code, block)]


def _later(word: Any, owner: Any, step: int) -> Any:
    """The word `step` places on, or 0 past the text's end."""
    import numpy as np

    if step == 0:
        return word
    moved = np.concatenate([word[step:], np.zeros(min(step, len(word)), np.int64)])
    theirs = np.concatenate([owner[step:], np.full(min(step, len(owner)), -1)])
    return np.where(theirs == owner, moved, 0)


def _prime(limit: int) -> int:
    """The largest prime up to `limit`."""
    for number in range(limit, 1, -1):
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            return number
    raise ValueError(f"no prime up to {limit}")


def _numbers(seed: int) -> Any:
    """Endless 31-bit numbers (SplitMix64), the same under every version of numpy."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        yield (mixed ^ (mixed >> 31)) >> 33
