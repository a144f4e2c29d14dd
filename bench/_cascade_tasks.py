"""The tasks of bench/routing_cascade.py: short prompts whose answers can be checked. Pure but for `read`."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _distill_sets import find_sets, read

# Labels as a person would write them: models are asked in words.
SPOKEN = {
    "AddToPlaylist": "playlist",
    "BookRestaurant": "restaurant",
    "GetWeather": "weather",
    "PlayMusic": "music",
    "RateBook": "rating",
    "SearchCreativeWork": "search",
    "SearchScreeningEvent": "cinema",
}
LABEL_TASKS = {
    "snips7": ("Say what the request is about", "Request", "About"),
    "sms_spam": ("Say whether the message is spam or ham", "Message", "Label"),
    "sib200_16": ("Say which topic the sentence is about", "Sentence", "Topic"),
    "synthetic_sentiment": ("Say whether the review is positive or negative", "Review", "Label"),
}
MAX_TEXT_CHARS = 240
_NUMBER = re.compile(r"-?\d+")

CAPITALS = """Afghanistan Kabul|Albania Tirana|Algeria Algiers|Angola Luanda|Argentina Buenos Aires
Armenia Yerevan|Australia Canberra|Austria Vienna|Azerbaijan Baku|Bahrain Manama|Bangladesh Dhaka
Belarus Minsk|Belgium Brussels|Bolivia Sucre|Botswana Gaborone|Brazil Brasilia|Bulgaria Sofia
Cambodia Phnom Penh|Cameroon Yaounde|Canada Ottawa|Chad N'Djamena|Chile Santiago|China Beijing
Colombia Bogota|Croatia Zagreb|Cuba Havana|Cyprus Nicosia|Denmark Copenhagen|Ecuador Quito
Egypt Cairo|Eritrea Asmara|Estonia Tallinn|Ethiopia Addis Ababa|Finland Helsinki|France Paris
Georgia Tbilisi|Germany Berlin|Ghana Accra|Greece Athens|Guatemala Guatemala City|Haiti Port-au-Prince
Honduras Tegucigalpa|Hungary Budapest|Iceland Reykjavik|India New Delhi|Indonesia Jakarta|Iran Tehran
Iraq Baghdad|Ireland Dublin|Italy Rome|Jamaica Kingston|Japan Tokyo|Jordan Amman|Kazakhstan Astana
Kenya Nairobi|Kuwait Kuwait City|Laos Vientiane|Latvia Riga|Lebanon Beirut|Libya Tripoli
Lithuania Vilnius|Luxembourg Luxembourg|Madagascar Antananarivo|Malaysia Kuala Lumpur|Mali Bamako
Malta Valletta|Mexico Mexico City|Moldova Chisinau|Mongolia Ulaanbaatar|Morocco Rabat
Mozambique Maputo|Namibia Windhoek|Nepal Kathmandu|Netherlands Amsterdam|New-Zealand Wellington
Nicaragua Managua|Niger Niamey|Nigeria Abuja|Norway Oslo|Oman Muscat|Pakistan Islamabad
Paraguay Asuncion|Peru Lima|Philippines Manila|Poland Warsaw|Portugal Lisbon|Qatar Doha
Romania Bucharest|Russia Moscow|Rwanda Kigali|Senegal Dakar|Serbia Belgrade|Slovakia Bratislava
Slovenia Ljubljana|Somalia Mogadishu|Spain Madrid|Sudan Khartoum|Sweden Stockholm|Switzerland Bern
Syria Damascus|Thailand Bangkok|Tunisia Tunis|Turkey Ankara|Uganda Kampala|Ukraine Kyiv
Uruguay Montevideo|Uzbekistan Tashkent|Venezuela Caracas|Vietnam Hanoi|Zambia Lusaka|Zimbabwe Harare"""
KINDS = {
    "fruit": "apple banana cherry grape lemon mango orange peach pear plum melon apricot",
    "animal": "cat cow dog goat horse lion monkey mouse pig rabbit sheep tiger",
    "tool": "axe drill hammer pliers rake saw screwdriver shovel spade wrench chisel file",
    "colour": "black blue brown green grey pink purple red turquoise white yellow beige",
    "vehicle": "bicycle boat bus car ferry lorry motorcycle plane ship train tram truck",
    "job": "baker carpenter dentist doctor farmer lawyer nurse pilot plumber teacher waiter tailor",
    "garment": "belt coat dress glove hat jacket scarf shirt shoe skirt sock trousers",
    "metal": "aluminium copper gold iron lead nickel silver steel tin zinc mercury platinum",
    "instrument": "cello clarinet drum flute guitar harp oboe piano trombone trumpet viola violin",
    "country": "Brazil Canada China Egypt France India Italy Japan Kenya Norway Peru Spain",
    "part of the body": "ankle arm ear elbow eye finger foot hand knee mouth nose shoulder",
    "sport": "badminton baseball basketball boxing cricket football golf hockey rugby skiing tennis judo",
}


@dataclass(frozen=True)
class Prompt:
    """A question: what a router reads of it, what is sent, and what is right."""

    task: str
    number: int
    text: str
    sent: str
    gold: str
    labels: tuple[str, ...] = field(default=(), repr=False)


def make_tasks(folder: Path, count: int, seed: int) -> dict[str, list[Prompt]]:
    """Give each task's prompts, drawn by the seed; a longer list begins with the shorter one."""
    found = {name: labelled(folder, name, count, seed) for name in LABEL_TASKS}
    found["arithmetic"] = written("arithmetic", _sums(seed), count)
    found["capitals"] = written("capitals", _capitals(seed), count)
    found["choice"] = written("choice", _choices(seed), count)
    return found


def bare_sums(count: int, seed: int) -> list[Prompt]:
    """Sums for models that were trained on nothing else: the bare sum, with no examples."""
    draw = random.Random(f"{seed} bare sums")
    pairs = list(dict.fromkeys(sum_of(draw, 2) for _ in range(6 * count)))[:count]
    return [
        Prompt("arithmetic-tiny", n, asked, f"{asked}=", gold)
        for n, (asked, gold) in enumerate(pairs)
    ]


def labelled(folder: Path, name: str, count: int, seed: int) -> list[Prompt]:
    """Rows of a set's train part as a few-shot task: an example of each label, then the text."""
    head, noun, ask = LABEL_TASKS[name]
    rows = [row for row in read(find_sets(folder, [name])[0].train) if _usable(row)]
    draw = random.Random(f"{seed} {name}")
    draw.shuffle(rows)
    labels = sorted({row["label"] for row in rows})
    by_label = {label: [row for row in rows if row["label"] == label] for label in labels}
    each = 1 if len(labels) > 2 else 2
    shots = [row for n in range(each) for label in labels for row in by_label[label][n : n + 1]]
    draw.shuffle(shots)
    # Labels in turn: else nine messages in ten were of one, and knowing that would be enough.
    rest = [
        by_label[label][n]
        for n in range(each, 4000)
        for label in labels
        if n < len(by_label[label])
    ]
    block = rest[:count]
    spoken = tuple(spoken_label(label) for label in labels)
    lead = f"{head}: {', '.join(spoken)}.\n\n" if len(labels) > 2 else f"{head}.\n\n"
    lead += "".join(
        f"{noun}: {_flat(row['text'])}\n{ask}: {spoken_label(row['label'])}\n\n" for row in shots
    )
    return [
        Prompt(
            name,
            number,
            row["text"],
            f"{lead}{noun}: {_flat(row['text'])}\n{ask}:",
            spoken_label(row["label"]),
            spoken,
        )
        for number, row in enumerate(block)
    ]


def written(
    name: str, pairs: Sequence[tuple[str, str]], count: int, shots: int = 4
) -> list[Prompt]:
    """Questions with answers as a few-shot task: the first ones are the examples."""
    lead = "".join(f"Question: {asked}\nAnswer: {gold}\n\n" for asked, gold in pairs[:shots])
    return [
        Prompt(name, number, asked, f"{lead}Question: {asked}\nAnswer:", gold)
        for number, (asked, gold) in enumerate(pairs[shots : shots + count])
    ]


def right(prompt: Prompt, answer: str) -> bool:
    """Whether an answer is right: its first line, by the first number, letter or words in it."""
    line = next((each for each in answer.splitlines() if each.strip()), "")
    if prompt.task.startswith("arithmetic"):
        numbers = _NUMBER.findall(line)
        return bool(numbers) and numbers[0] == prompt.gold
    told = _plain(line)
    if prompt.task == "choice":
        return told.split(" ")[0] == prompt.gold.lower()
    return told == _plain(prompt.gold) or told.startswith(f"{_plain(prompt.gold)} ")


def spoken_label(label: str) -> str:
    return SPOKEN.get(label, label).split("/")[0]


def sum_of(draw: random.Random, longest: int) -> tuple[str, str]:
    """A sum, a difference or a product, with numbers of 1 to `longest` digits."""
    sign = draw.choice("++--*")
    a, b = (draw.randrange(10 ** draw.randint(1, longest)) for _ in range(2))
    if sign == "*":
        b %= 10
    return f"{a} {sign} {b}", str({"+": a + b, "-": a - b, "*": a * b}[sign])


def _sums(seed: int) -> list[tuple[str, str]]:
    draw = random.Random(f"{seed} arithmetic")
    return list(dict.fromkeys(sum_of(draw, 2) for _ in range(4000)))


def _capitals(seed: int) -> list[tuple[str, str]]:
    pairs = [
        (a.replace("-", " "), b)
        for a, _, b in (each.partition(" ") for each in re.split(r"[|\n]", CAPITALS))
    ]
    asked = [(f"What is the capital of {a}?", b) for a, b in pairs]
    asked += [(f"Of which country is {b} the capital?", a) for a, b in pairs]
    random.Random(f"{seed} capitals").shuffle(asked)
    return asked


def _choices(seed: int) -> list[tuple[str, str]]:
    draw = random.Random(f"{seed} choice")
    found = []
    for number in range(2000):
        kind, *others = draw.sample(sorted(KINDS), 4)
        words = [draw.choice(KINDS[each].split()) for each in (kind, *others)]
        gold = words[0]
        draw.shuffle(words)
        if number < 4:  # The examples have each letter once.
            words.remove(gold)
            words.insert(number, gold)
        options = " ".join(f"{letter}. {word}" for letter, word in zip("ABCD", words, strict=True))
        article = "an" if kind[0] in "aeiou" else "a"
        found.append((f"Which is {article} {kind}? {options}", "ABCD"[words.index(gold)]))
    return found


def _usable(row: Mapping[str, Any]) -> bool:
    short = len(row["text"]) <= MAX_TEXT_CHARS and bool(row["text"].strip())
    return short and row.get("lang", "eng_Latn") == "eng_Latn"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
