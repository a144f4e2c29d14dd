"""Whether a text is in the language that was asked for, as far as that can be seen without doubt.

By script first, then by function words. Only a clear sign of another language turns a text away:
short texts, names and loan words have none, and pass.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

__all__ = ["is_wrong_language", "script_of"]

MAX_CHARS = 2_000
MIN_LETTERS = 4
MIN_WORDS = 4
_WORD = re.compile(r"[^\W\d_]+")

_SCRIPTS: dict[str, frozenset[str]] = {
    "ar": frozenset({"ARABIC"}),
    "be": frozenset({"CYRILLIC"}),
    "bg": frozenset({"CYRILLIC"}),
    "bn": frozenset({"BENGALI"}),
    "el": frozenset({"GREEK"}),
    "fa": frozenset({"ARABIC"}),
    "gu": frozenset({"GUJARATI"}),
    "he": frozenset({"HEBREW"}),
    "hi": frozenset({"DEVANAGARI"}),
    "hy": frozenset({"ARMENIAN"}),
    "ja": frozenset({"HIRAGANA", "KATAKANA", "CJK"}),
    "ka": frozenset({"GEORGIAN"}),
    "km": frozenset({"KHMER"}),
    "kn": frozenset({"KANNADA"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    "lo": frozenset({"LAO"}),
    "mk": frozenset({"CYRILLIC"}),
    "ml": frozenset({"MALAYALAM"}),
    "mr": frozenset({"DEVANAGARI"}),
    "my": frozenset({"MYANMAR"}),
    "ne": frozenset({"DEVANAGARI"}),
    "pa": frozenset({"GURMUKHI", "ARABIC"}),
    "ru": frozenset({"CYRILLIC"}),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "th": frozenset({"THAI"}),
    "uk": frozenset({"CYRILLIC"}),
    "ur": frozenset({"ARABIC"}),
    "zh": frozenset({"CJK"}),
}
_LATIN = frozenset({"LATIN"})
_NAMED_SCRIPTS = {"latn": _LATIN, "cyrl": frozenset({"CYRILLIC"}), "arab": frozenset({"ARABIC"})}

_WORDS = {
    "cs": "a je se na že to v s z do pro jsem není jak ale tak už mi když jako jsou",
    "da": "og er det jeg ikke en at på til med har den for som af men kan hvad mig",
    "de": "und der die das ist nicht ich ein eine zu mit auf für den von es wie aber mein habe bei",
    "en": "the and is to of a in it you for that my on have not this with are was but be",
    "es": "de la que el en y los no es un una por con para mi se lo las me pero del",
    "fi": "ja on ei se että en minun mutta kun olen niin tämä mitä ole ovat jos hän kuin",
    "fr": "de la le et les des je est pas que un une pour dans mon ne vous sur avec ce ma du",
    "hu": "a az és nem hogy egy van meg de ez is ha csak mint már vagy kell volt",
    "id": "yang dan di tidak saya ini untuk dengan ke dari itu ada bisa sudah pada akan",
    "it": "di che è la il un non per in una mi sono con ho ma le si del della come i",
    "nl": "de het een en ik is niet van dat mijn op te voor met er maar heb zijn wat kan",
    "pl": "i w nie na się to z jest że do mi jak co ale za mam od czy po tak już",
    "pt": "de que o a e não um uma para com em meu minha os do da eu por mas no se",
    "ro": "și de la nu în este un o cu pe că am mi pentru din mai sunt ce dar să",
    "sv": "och är det jag inte en att på till med har den för som av men kan min ett",
    "tr": "ve bir bu için ben ne de çok var mı ama gibi daha değil da benim ile olarak",
    "vi": "là của tôi và không có cho được một này với các những đã khi như để người",
}  # fmt: skip
_FUNCTION_WORDS = {name: frozenset(words.split()) for name, words in _WORDS.items()}


@cache
def _script_of_char(char: str) -> str:
    name = unicodedata.name(char, "")
    return "CJK" if name.startswith("CJK") else name.partition(" ")[0]


def script_of(text: str) -> str | None:
    """Give the script of most of a text's letters, by its Unicode name; None if it has too few."""
    counts: dict[str, int] = {}
    for char in text[:MAX_CHARS]:
        if char.isalpha():
            script = _script_of_char(char)
            counts[script] = counts.get(script, 0) + 1
    if sum(counts.values()) < MIN_LETTERS:
        return None
    return max(counts, key=lambda each: counts[each])


def is_wrong_language(text: str, wanted: str) -> bool:
    """Whether a text is clearly in another language than the tag says (BCP 47; `de`, `zh-Hant`).

    A language that is not known here is only told from others by nothing, and always passes.
    """
    base, _, rest = wanted.lower().partition("-")
    named = next((_NAMED_SCRIPTS[part] for part in rest.split("-") if part in _NAMED_SCRIPTS), None)
    latin = _LATIN if base in _FUNCTION_WORDS else None
    scripts = named or _SCRIPTS.get(base) or latin
    found = script_of(text)
    if scripts is not None and found is not None and found not in scripts:
        return True
    own = _FUNCTION_WORDS.get(base)
    if own is None:
        return False
    words = [word.lower() for word in _WORD.findall(text[:MAX_CHARS])]
    if len(words) < MIN_WORDS:
        return False
    hits = sum(word in own for word in words)
    most = max(
        sum(word in other for word in words)
        for name, other in _FUNCTION_WORDS.items()
        if name != base
    )
    # Neighbours share many of these words: another language must be well ahead.
    return most >= 3 and most > 2 * hits + 1
