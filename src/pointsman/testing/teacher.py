"""A scripted teacher: it plays the language model that writes and labels rows for a classifier.

It reads the prompts as a model would, as far as it must, and writes varied texts from templates. How
often it errs, repeats itself, refuses, breaks its JSON, is cut short or limits the rate is set, so
that a test knows what it has to deal with.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from pointsman.testing.asked import read_asked
from pointsman.testing.script import Answer, Fault, Recorded, Reply
from pointsman.testing.teaching import TASKS, ScriptedTask, write

__all__ = ["Faults", "ScriptedTeacher"]

_BLOCK = re.compile(r"```json\n(.*?)\n```", re.DOTALL)
_WANTED = re.compile(r"^Class wanted: (.+)$", re.MULTILINE)
_CODE = re.compile(r"^([A-Z]|\d{1,3}): (.+?) \(", re.MULTILINE)
REFUSAL = "I'm sorry, but I can't help with that request."
NONSENSE = "The moon is a fine cheese, and so it goes; purple seven windward."
GERMAN = (
    "Das ist ein Text in einer anderen Sprache, und er ist nicht für diese Aufgabe, aber hier: "
)


class Faults(Struct, frozen=True, kw_only=True):
    """How often what goes wrong, each from 0 to 1.

    Of rows: `wrong_class` (written for another class than asked), `duplicate` (an earlier text with a
    small change), `wrong_language`, `blind_error` (a wrong blind label). Of answers: `refusal`,
    `broken` (JSON that does not parse), `cut` (the limit of tokens reached), `nonsense`. Of requests,
    at their first try: `limit` (429 with a short `retry-after`), `dropped` (the connection is cut
    half-way through the answer, which has been charged by then).
    """

    wrong_class: float = 0.0
    duplicate: float = 0.0
    wrong_language: float = 0.0
    blind_error: float = 0.0
    refusal: float = 0.0
    broken: float = 0.0
    cut: float = 0.0
    nonsense: float = 0.0
    limit: float = 0.0
    dropped: float = 0.0
    retry_after_s: float = 0.02


class ScriptedTeacher:
    """The script of a `FakeProvider`: `FakeProvider(ScriptedTeacher("support"))`.

    `paid` counts the answers that were sent in full, by prompt: a prompt that is there twice was
    paid twice. `limited` counts the refusals by rate. What a text truly is it remembers from
    writing it, or sees by its words.
    """

    def __init__(
        self,
        task: str = "support",
        faults: Faults | None = None,
        *,
        seed: int = 0,
        delay_s: float = 0.0,
    ) -> None:
        self.task: ScriptedTask = TASKS[task]
        self.faults = faults or Faults()
        self.paid: Counter[str] = Counter()
        self.limited = 0
        self._seed = seed
        self._delay_s = delay_s
        self._truth: dict[str, str] = {}
        self._written: list[str] = []
        self._tries: Counter[str] = Counter()

    def __call__(self, request: Recorded) -> Reply:
        """Give the reply to a request."""
        prompt = read_asked(request).prompt
        self._tries[prompt] += 1
        number = self._tries[prompt]
        chooser = self._chooser(f"{number}/{prompt}")
        if number == 1 and chooser.random() < self.faults.limit:
            self.limited += 1
            return Fault(status=429, retry_after=f"{self.faults.retry_after_s:g}")
        answer = self._answer(request, prompt, chooser)
        if number == 1 and chooser.random() < self.faults.dropped:
            return Fault(cut_after=1, answer=answer)
        self.paid[prompt] += 1
        return answer

    def clean_rows(self, count: int, seed: int) -> list[tuple[str, str]]:
        """Give texts with their true labels, as many of each class, no two the same."""
        chooser = self._chooser(f"clean/{seed}")
        names = list(self.task.classes)
        found: dict[str, str] = {}
        while len(found) < count:
            label = names[len(found) % len(names)]
            found.setdefault(write(self.task, label, "en", chooser), label)
        return list(found.items())

    def truth(self, text: str) -> str:
        """Give the true class of a text: as written, else the one whose words it shares most."""
        known = self._truth.get(text.strip())
        return known if known is not None else self._by_words(text)

    def _answer(self, request: Recorded, prompt: str, chooser: random.Random) -> Answer:
        if '{"rows":' in prompt:
            text = self._rows(prompt, chooser)
        elif '{"labels":' in prompt:
            text = self._labels(prompt, chooser)
        else:
            return self._sent(json.dumps(self._plan(prompt)))
        return self._spoilt(request, text, chooser)

    def _spoilt(self, request: Recorded, text: str, chooser: random.Random) -> Answer:
        kind = self._fault(chooser.random())
        if kind is None:
            return self._sent(f"```json\n{text}\n```" if chooser.random() < 0.2 else text)
        if kind in ("refusal", "nonsense"):
            return self._sent(REFUSAL if kind == "refusal" else NONSENSE)
        if kind == "broken":
            at = text.find('{"id"', len(text) // 2)
            return self._sent(text[:at] + '{"id": oops, ' + text[at + 1 :])
        words = {"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}
        kept = text[: chooser.randint(len(text) // 3, len(text) - 1)]
        return Answer(text=kept, finish=words[request.dialect], delay_s=self._delay_s)

    def _fault(self, draw: float) -> str | None:
        for kind in ("refusal", "nonsense", "broken", "cut"):
            draw -= getattr(self.faults, kind)
            if draw < 0:
                return kind
        return None

    def _sent(self, text: str) -> Answer:
        return Answer(text=text, delay_s=self._delay_s)

    def _plan(self, prompt: str) -> dict[str, Any]:
        classes = [
            {
                "name": name,
                "definition": each.definition,
                "situations": [
                    f"{name} matter {at}: {core[:40]}"
                    for at, core in enumerate(each.cores["en"][:10])
                ],
                "edge_cases": [
                    f"sounds like {other}" for other in self.task.classes if other != name
                ],
            }
            for name, each in self.task.classes.items()
        ]
        if '"other"' in prompt:
            classes.append(
                {
                    "name": "other",
                    "definition": "Anything that fits none of the other classes.",
                    "situations": ["small talk", "a wrong number", "spam"],
                    "edge_cases": ["mentions a product in passing"],
                }
            )
        return {
            "classes": classes,
            "writers": ["a regular", "someone new", "a manager", "a student"],
            "registers": ["plain", "polite", "curt", "warm"],
            "lengths": ["under 8 words", "8 to 15 words", "15 to 40 words"],
            "forms": ["a question", "a complaint", "a request"],
            "noises": ["clean", "typing errors", "lower case"],
            "dialects": ["British", "Indian English"],
        }

    def _rows(self, prompt: str, chooser: random.Random) -> str:
        wanted = _WANTED.search(prompt)
        rows = []
        for brief in _lines(prompt):
            label = str(brief.get("class") or (wanted[1] if wanted else ""))
            rows.append({"id": brief.get("id"), "text": self._text(label, brief, chooser)})
        return json.dumps({"rows": rows}, ensure_ascii=False)

    def _text(self, label: str, brief: Mapping[str, Any], chooser: random.Random) -> str:
        rates = self.faults
        if self._written and chooser.random() < rates.duplicate:
            return chooser.choice(self._written) + chooser.choice(("", "!", " ", "."))
        if label not in self.task.classes:
            text = _elsewhere(chooser)
            self._truth[text] = label
            return text
        true = label
        if chooser.random() < rates.wrong_class:
            true = chooser.choice([name for name in self.task.classes if name != label])
        text = write(self.task, true, str(brief.get("language", "en")), chooser)
        if "lower case" in str(brief.get("noise")):
            text = text.lower()
        if chooser.random() < rates.wrong_language:
            text = GERMAN + text
        self._truth[text.strip()] = true
        self._written.append(text)
        return text

    def _labels(self, prompt: str, chooser: random.Random) -> str:
        codes = {name: code for code, name in _CODE.findall(prompt)}
        found = []
        for row in _lines(prompt):
            true = self.truth(str(row.get("text")))
            said = true if true in codes else next(iter(codes))
            if chooser.random() < self.faults.blind_error:
                said = chooser.choice([name for name in codes if name != said])
            key, value = ("codes", [codes[said]]) if '"codes"' in prompt else ("code", codes[said])
            found.append({"id": row.get("id"), key: value})
        return json.dumps({"labels": found})

    def _by_words(self, text: str) -> str:
        words = set(re.findall(r"\w+", text.lower()))

        def shared(name: str) -> float:
            cores = self.task.classes[name].cores.values()
            listed = [set(re.findall(r"\w+", core.lower())) for each in cores for core in each]
            return max(len(words & core) / len(core) for core in listed)

        return max(self.task.classes, key=shared)

    def _chooser(self, salt: str) -> random.Random:
        return random.Random(zlib.crc32(f"{self._seed}/{salt}".encode("utf-8", "replace")))  # noqa: S311


def _lines(prompt: str) -> Iterator[dict[str, Any]]:
    block = _BLOCK.search(prompt)
    for line in block[1].splitlines() if block else ():
        row = json.loads(line)
        if isinstance(row, dict):
            yield row


def _elsewhere(chooser: random.Random) -> str:
    """A text that is of no class."""
    who = chooser.choice(
        ("my aunt", "the neighbour", "a pigeon", "our choir", "the mayor", "a cousin")
    )
    what = chooser.choice(
        ("sang", "planted tulips", "lost a shoe", "won at chess", "baked rye bread", "sailed off")
    )
    where = chooser.choice(
        ("in Lisbon", "by the lake", "on the night bus", "under the bridge", "at dawn")
    )
    return f"{who} {what} {where} {chooser.randint(2, 99)} years ago"
