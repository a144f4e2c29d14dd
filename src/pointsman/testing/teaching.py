"""Tasks that the scripted teacher knows: for each class its templates, and words to fill them in.

A text is an opening, a core of its class, a detail and an ending, any of them but the core left
out. Some cores use the words of another class, as real texts do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from msgspec import Struct

__all__ = ["TASKS", "ScriptedClass", "ScriptedTask", "write"]

_SLOT = re.compile(r"\{(\w+)\}")


class ScriptedClass(Struct, frozen=True):
    """A class: what it means, and the cores of its texts, by language."""

    definition: str
    cores: Mapping[str, tuple[str, ...]]


class ScriptedTask(Struct, frozen=True):
    """A task with its classes. `slots` fill the templates; `frames` go around a core, by language."""

    words: str
    classes: Mapping[str, ScriptedClass]
    slots: Mapping[str, tuple[str, ...]]
    frames: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]
    multi: bool = False


def write(task: ScriptedTask, label: str, language: str, chooser: random.Random) -> str:
    """Give a text of a class; in English where the language has no templates."""
    cores = task.classes[label].cores
    language = language if language in cores else "en"
    openings, details, endings = task.frames[language]
    parts = [chooser.choice(cores[language])]
    if chooser.random() < 0.75:
        parts.append(chooser.choice(details))
    if chooser.random() < 0.45:
        parts.insert(0, chooser.choice(openings))
    if chooser.random() < 0.4:
        parts.append(chooser.choice(endings))
    text = " ".join(parts)
    while "{" in text:
        text = _SLOT.sub(lambda match: chooser.choice(task.slots[match[1]]), text)
    return text


_SLOTS: dict[str, tuple[str, ...]] = {
    "month": ("January", "March", "April", "June", "August", "October", "last month", "this quarter"),
    "amount": ("$12.50", "49 euros", "$199", "£8.99", "1,240 dollars", "€75", "$3", "300 bucks", "$640.10"),
    "product": ("Lumen Desk", "the mobile app", "Orbit", "your router", "the web portal", "Quill Pro",
                "the desktop client", "Harbor Sync", "the API", "the smart plug", "Fernway"),
    "plan": ("Starter", "Team", "Business", "annual", "student", "family", "premium", "nonprofit"),
    "device": ("my iPad", "a Pixel 7", "Windows 11", "the office Mac", "an old Android", "Firefox",
               "our test server", "Safari", "the kiosk", "a Chromebook", "my phone"),
    "code": ("E-{digit}{digit}{digit}", "error {digit}0{digit}", "code {digit}{digit}", "0x8{digit}{digit}F"),
    "digit": tuple("123456789"),
    "count": ("3", "12", "25", "about forty", "two hundred", "a dozen", "60", "1,500"),
    "team": ("our clinic", "a school", "my start-up", "the warehouse", "our law firm", "a bakery chain",
             "the band", "a small charity", "our lab", "the county office"),
    "name": ("Priya", "Tom", "Mrs Okafor", "Lars", "Wei", "Dr. Haddad", "Chloe", "Mateusz", "Yuki", "Ben"),
    "time": ("since Tuesday", "for two weeks", "again today", "every morning", "after lunch",
             "since the update", "twice this week", "at 3 am", "all day"),
    "feature": ("the export", "dark mode", "two-factor login", "the calendar view", "file upload",
                "search", "notifications", "the dashboard", "voice notes", "offline mode"),
    "reason": ("we moved offices", "my card was replaced", "the accountant asked", "I was on leave",
               "the old laptop broke", "our boss wants an answer", "we are comparing tools",
               "the trial is nearly over", "my colleague left"),
}  # fmt: skip

_FRAMES_EN = (
    ("Hi,", "Hello team,", "Good morning.", "hey", "Dear support,", "Quick one:", "To whom it may concern,",
     "Sorry to bother you.", "{name} here.", "Second message about this:"),
    ("It has been like this {time}.", "I am asking because {reason}.", "{name} from {team} noticed it first.",
     "We use {product} with {count} people.", "This is about {product} on {device}.", "It happened {time}.",
     "I already wrote to {name} {time}.", "For context, {reason}.", "There are {count} of us at {team}."),
    ("Thanks, {name}", "Please hurry.", "Best wishes", "any help is welcome", "What now?",
     "I would like an answer this week.", "Cheers!", "Not happy.", "Looking forward to hearing from you."),
)  # fmt: skip
_FRAMES_DE = (
    ("Hallo,", "Guten Tag.", "Moin", "Sehr geehrte Damen und Herren,", "Kurze Frage:"),
    ("Das ist schon die ganze Woche so und ich weiß nicht weiter.", "Ich frage, weil mein Chef es wissen will.",
     "Wir sind mit {count} Leuten dabei und nutzen {product}.", "Es geht um {product} auf {device}."),
    ("Danke, {name}", "Bitte um schnelle Antwort.", "Viele Grüße", "Was soll ich jetzt tun?"),
)  # fmt: skip

_BILLING = ScriptedClass(
    "About money that is owed, paid or to be paid back: invoices, charges, refunds, payment methods.",
    {
        "en": (
            "I was charged {amount} twice in {month}.",
            "The invoice for {month} shows {amount} but we agreed on less.",
            "Please refund the {amount} you took for the {plan} subscription.",
            "My payment of {amount} was declined although the card is fine.",
            "How do I change the credit card on file for the {plan} account?",
            "The receipt from {month} lacks our tax number.",
            "Why did my bill go up to {amount}?",
            "I cancelled {product} in {month} and the money still leaves my account.",
            "Can you resend the {month} invoice to our bookkeeper?",
            "There is a charge of {amount} on my statement I do not recognise.",
            "We overpaid by {amount}, can it be credited to {month}?",
            "The payment page says {code} when I enter my card.",
            "The discount for the {plan} tier is missing from what you billed.",
            "Is VAT included in the {amount} debited in {month}?",
            "Direct debit failed {time} and now I owe {amount}.",
        ),
        "de": (
            "Mir wurden im letzten Monat {amount} doppelt abgebucht.",
            "Die Rechnung über {amount} ist nicht richtig und ich möchte das Geld zurück.",
            "Wie kann ich die Karte für die Zahlung ändern?",
            "Auf der Quittung fehlt die Steuernummer von uns.",
        ),
    },
)
_TECHNICAL = ScriptedClass(
    "Something does not work or the writer does not know how to make it work: faults, errors, set-up.",
    {
        "en": (
            "{product} crashes on {device} as soon as I open {feature}.",
            "I cannot log in to {product}, it only says {code}.",
            "{feature} stopped working {time}.",
            "The page stays blank on {device} when I click {feature}.",
            "How do I reset the password for {product}?",
            "We get {code} whenever {product} syncs.",
            "The installer for {device} hangs at ninety percent.",
            "{feature} is so slow on {device} that it times out.",
            "After the update {product} no longer finds the printer.",
            "The confirmation mail with the code never arrives.",
            "Is there a way to move my settings from {device} to another machine?",
            "{product} drops the connection {time}.",
            "The invoice screen shows {code} and will not load.",
            "Webhooks from {product} arrive twice with the wrong signature.",
            "My files vanished from {feature} {time}.",
        ),
        "de": (
            "{product} stürzt auf {device} ab und ich kann mich nicht mehr anmelden.",
            "Beim Öffnen kommt immer {code} und dann ist der Bildschirm leer.",
            "Das Passwort lässt sich nicht zurücksetzen, die Mail kommt nie an.",
            "Nach dem Update ist die Verbindung ständig weg.",
        ),
    },
)
_SALES = ScriptedClass(
    "Interest in buying: prices and plans before the purchase, quotes, demos, trials, volume.",
    {
        "en": (
            "What would {product} cost for {count} seats?",
            "Could someone show us a demo of {feature}?",
            "We are thinking of buying {product} for {team}.",
            "Do you offer the {plan} plan to {team}?",
            "Please send a quote for {count} licences.",
            "Is there a free trial of {product} with {feature}?",
            "Which plan has {feature}, {plan} or the bigger one?",
            "How does {product} compare with what {team} uses at present?",
            "Can I talk to a sales person about {count} units?",
            "We want to upgrade from {plan} if the price is right.",
            "Are there volume prices above {count} users?",
            "Does the {plan} offer still run in {month}?",
            "Our tender asks for {feature}; can {product} do it before we sign?",
            "Do you ship {product} abroad, and what is the price?",
            "Is a payment by invoice possible if we order {count}?",
        ),
        "de": (
            "Was würde {product} für {count} Plätze kosten?",
            "Können wir eine Vorführung für {team} bekommen?",
            "Wir möchten das gerne kaufen und bitten um ein Angebot.",
            "Gibt es eine kostenlose Testphase und welche Preise gelten dann?",
        ),
    },
)
_REVIEW_SLOTS: dict[str, tuple[str, ...]] = {
    **_SLOTS,
    "thing": ("kettle", "backpack", "hotel room", "noodle bar", "audiobook", "tent", "headset", "museum tour",
              "haircut", "rain jacket", "board game", "ferry trip"),
    "part": ("handle", "sound", "staff", "zip", "view", "price", "battery", "service", "finish", "taste"),
}  # fmt: skip
_FRAMES_REVIEW = (
    ("Honest review:", "Bought it in {month}.", "ok so", "{name} gave it to me.", "First impression:"),
    ("We used it {time}.", "Took it along with {count} friends.", "Paid {amount} for it.",
     "The {part} was what we came for.", "I read {count} reviews before."),
    ("That is all.", "Make of it what you will.", "{name}", "Ask me anything.", "End of story."),
)  # fmt: skip

TASKS: dict[str, ScriptedTask] = {
    "support": ScriptedTask(
        words="Route support tickets to billing, technical or sales",
        classes={"billing": _BILLING, "technical": _TECHNICAL, "sales": _SALES},
        slots=_SLOTS,
        frames={"en": _FRAMES_EN, "de": _FRAMES_DE},
    ),
    "reviews": ScriptedTask(
        words="Tell positive reviews from negative ones",
        classes={
            "positive": ScriptedClass(
                "The writer is pleased on the whole.",
                {
                    "en": (
                        "The {thing} is wonderful, above all the {part}.",
                        "Could not be happier with this {thing}.",
                        "I expected a bad {part} and was so wrong: superb {thing}.",
                        "Best {thing} I have had, worth every cent.",
                        "Not a single complaint about the {part}.",
                        "Would buy the {thing} again without a second thought.",
                        "The {part} made my day.",
                        "A lovely {thing}, well made and kind to the purse.",
                    )
                },
            ),
            "negative": ScriptedClass(
                "The writer is displeased on the whole.",
                {
                    "en": (
                        "The {thing} fell apart, starting with the {part}.",
                        "I regret this {thing}.",
                        "I expected a good {part} and got rubbish.",
                        "Worst {thing} I have had, a waste of money.",
                        "Nothing but complaints about the {part}.",
                        "Would not buy the {thing} again, ever.",
                        "The {part} ruined my day.",
                        "A dreary {thing}, badly made and overpriced.",
                    )
                },
            ),
        },
        slots=_REVIEW_SLOTS,
        frames={"en": _FRAMES_REVIEW},
    ),
}
