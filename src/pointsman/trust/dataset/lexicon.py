"""Forms of answers that a family may be known by, beside what the rows themselves show.

Short, and English: what the rows repeat is found without it. It puts varied wordings of one kind
together where each is too rare to stand out.
"""

from __future__ import annotations

import re

__all__ = ["forms_of"]

# How an answer begins that agrees to help and may say nothing else.
_COMPLIES = re.compile(
    r"(?:(?:oh|well|why|but)\W+)?(?:yes\W+)?(?:"
    r"sure(?:\s+thing)?|of\s+course|certainly|absolutely|gladly|"
    r"no\s+problem|not\s+a\s+problem|my\s+pleasure|with\s+pleasure|by\s+all\s+means|"
    r"happy\s+to|glad\s+to|right\s+away|consider\s+it\s+done|you\s+(?:got\s+it|bet)|"
    r"will\s+do|got\s+it|on\s+it|roger\s+that|affirmative|very\s+well|"
    r"(?:i\s+would|i'd|i\s+will|i'll|i\s+can|i\s+am|i'm)\s+(?:be\s+)?(?:happily|gladly|"
    r"(?:more\s+than\s+)?(?:happy|glad|delighted|pleased)\s+to)|"
    r"i\s+can\s+(?:definitely\s+|certainly\s+)?(?:help|assist)|"
    r"(?:ok|okay|alright|all\s+right|understood|as\s+you\s+wish)\b(?=\W|$)"
    r")\b",
    re.IGNORECASE,
)
# How an answer begins that refuses.
_REFUSES = re.compile(
    r"(?:(?:oh|well|no|unfortunately)\W+)?(?:"
    r"(?:i\s+am|i'm)\s+(?:very\s+|so\s+|really\s+)?(?:sorry|afraid|unable|not\s+able)|"
    r"sorry\b|(?:my\s+|i\s+)apologi|"
    r"i\s+(?:cannot|can't|can\s+not|won't|will\s+not|must\s+decline|do\s+not\s+feel|refuse)|"
    r"as\s+an?\s+(?:ai|artificial|language|assistant|responsible)"
    r")",
    re.IGNORECASE,
)
# What nobody is told by an assistant that means well.
_HOSTILE = re.compile(
    r"\b(?:you(?:'re|\s+are)\s+(?:so\s+|such\s+an?\s+|an?\s+)?(?:stupid|dumb|idiot|worthless|"
    r"useless|pathetic|moron|ugly|disgusting|terrible)|i\s+(?:hate|despise|loathe)\s+you|"
    r"shut\s+up|go\s+away|screw\s+you)\b",
    re.IGNORECASE,
)
HEAD_CHARS = 200


def forms_of(response: str) -> list[str]:
    """Give which of "compliance", "refusal" and "hostility" the head of an answer has."""
    head = response[:HEAD_CHARS].replace("\u2019", "'").lstrip(" \t\n\"'*_-")
    found = []
    if _COMPLIES.match(head):
        found.append("compliance")
    if _REFUSES.match(head):
        found.append("refusal")
    if _HOSTILE.search(head):
        found.append("hostility")
    return found
