"""When a rule of a route holds: by tag, key, length, language and hour. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["LANGUAGES", "When", "holds", "language_of"]

# A language is told from so much of a text; more costs time and says no more.
READ_CHARS = 2000
# Below this share of a text's words no language's stop words make it that language.
LEAST_SHARE = 0.12

# The commonest words, those that several of these languages share left out where they mislead.
_STOP_WORDS = {
    "en": "the and of to is in that for it with as was on are this be have what how you not from",
    "de": "der die und das ist nicht ein eine mit für auf den von zu dem im wie ich sie auch werden",
    "fr": "le la les et des est une dans que pour pas qui sur avec ce au je vous sont comment du",
    "es": "el los las y que en una por con para es no como del más su se qué está son cómo",
    "it": "il gli di che è per non sono una con del della come nel più questo anche mi cosa sul",
    "pt": "os que não uma para com do da em é como mais dos por se você são na no qual",
    "nl": "de het een en van is dat niet op te voor met zijn er aan ook als bij hoe wat naar",
    "pl": "nie na się do to jest że jak co od po przez dla oraz jego są czy",
    "sv": "och att det som en på är av för med den inte till om ett har de jag hur vad",
    "tr": "ve bir bu için ile de da ne çok daha gibi olarak olan nasıl mi var en ama kadar",
}
_WORD = re.compile(r"[^\W\d_]+")
_BY_WORD: dict[str, tuple[str, ...]] = {}
for _language, _words in _STOP_WORDS.items():
    for _word in _words.split():
        _BY_WORD[_word] = (*_BY_WORD.get(_word, ()), _language)

# Scripts that tell the language, or the commonest one that is written so.
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
)
LANGUAGES = tuple(sorted({*_STOP_WORDS, *(name for name, _ in _SCRIPTS)}))
# Of a text's letters so many must be of a script. Japanese mixes its own with Chinese ones.
SCRIPT_SHARE, MIXED_SHARE = 0.3, 0.05


class When(Struct, frozen=True):
    """The conditions of a rule; an empty one always holds. `hours` are (from, to) in UTC, 0–24; from
    22 to 6 is the night.
    """

    tags: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    min_chars: int | None = None
    max_chars: int | None = None
    languages: tuple[str, ...] = ()
    hours: tuple[int, int] | None = None


def holds(
    when: When, *, text: str, chars: int, tag: str | None, key: str | None, hour: int
) -> bool:
    """Whether all conditions hold, the cheapest looked at first. `hour` is that of the day, in UTC."""
    if when.tags and tag not in when.tags:
        return False
    if when.keys and key not in when.keys:
        return False
    if when.min_chars is not None and chars < when.min_chars:
        return False
    if when.max_chars is not None and chars > when.max_chars:
        return False
    if when.hours is not None and not _within(hour, when.hours):
        return False
    return not when.languages or language_of(text) in when.languages


def language_of(text: str) -> str | None:
    """Give the ISO 639-1 code of the language that a text is most likely in; None if that is not told.

    By its script, else by the share of each language's commonest words: cheap, and good enough from
    a sentence on. Code, names and a few words tell nothing.
    """
    read = text[:READ_CHARS]
    letters = sum(map(str.isalpha, read))
    if not letters:
        return None
    if not read.isascii():
        for name, script in _SCRIPTS:
            share = len(script.findall(read)) / letters
            if share >= (MIXED_SHARE if name in ("ja", "uk") else SCRIPT_SHARE):
                return name
    return _by_words(_WORD.findall(read.lower()))


def _by_words(words: Sequence[str]) -> str | None:
    votes: Counter[str] = Counter()
    for word in words:
        for language in _BY_WORD.get(word, ()):
            votes[language] += 1
    ranked = votes.most_common(2)
    if not ranked or ranked[0][1] < max(2, LEAST_SHARE * len(words)):
        return None
    if len(ranked) > 1 and ranked[1][1] == ranked[0][1]:
        return None
    return ranked[0][0]


def _within(hour: int, hours: tuple[int, int]) -> bool:
    start, end = hours
    return start <= hour < end if start <= end else hour >= start or hour < end
