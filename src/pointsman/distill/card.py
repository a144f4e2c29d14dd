"""The card of a classifier: a page of Markdown for whoever is to decide whether to use it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pointsman.distill.facts import Facts, mix_ups

__all__ = ["card"]

SHOWN_LABELS = 20
SHOWN_MIX_UPS = 5
FEW_ROWS = 50
LOW_F1 = 0.7
# Markdown acts on these anywhere in a line; in a table a bar would part cells.
MARKS = re.compile(r"([\\`*_{}\[\]<>|~&$])")


def card(facts: Facts) -> bytes:
    """Give the card, as UTF-8. Whatever someone else wrote is escaped."""
    parts = [
        f"# {_plain(facts.name)}",
        _warning(facts),
        _use(facts),
        _figures(facts),
        _limits(facts),
        _rows(facts),
        _teacher(facts.teacher) if facts.teacher else "",
        _files(facts),
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode("utf-8", "replace")


def _plain(text: str) -> str:
    """A text of unknown origin on one line, with nothing in it that Markdown acts on."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    return MARKS.sub(r"\\\1", " ".join(shown.split()))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _warning(facts: Facts) -> str:
    notes = (facts.teacher or {}).get("notes", [])
    return f"> **{_plain(notes[-1])}**" if facts.too_weak and notes else ""


def _use(facts: Facts) -> str:
    kind = (
        "gives the labels that apply to a text, several or none"
        if facts.multi
        else "gives one of its labels to a text"
    )
    names = ", ".join(map(_plain, facts.labels[:SHOWN_LABELS]))
    rest = len(facts.labels) - SHOWN_LABELS
    task = f"Made for: {_plain(facts.task)}\n\n" if facts.task else ""
    return (
        f"## What it is for\n\n{task}`model.onnx` {kind}, with a probability for each. It takes the"
        " text's UTF-8 bytes as they are and does everything inside, so any language that has ONNX"
        f" Runtime runs it: see `programs/`.\n\n{len(facts.labels)} labels: {names}"
        + (f" and {rest} more." if rest > 0 else ".")
    )


def _figures(facts: Facts) -> str:
    scores = facts.scores
    rows = [
        (name, f"{value:.3f}", f"{low:.3f} to {high:.3f}")
        for name, value, (low, high) in (
            ("accuracy", scores.accuracy, scores.accuracy_95),
            ("macro-F1", scores.macro_f1, scores.macro_f1_95),
            ("micro-F1", scores.micro_f1, scores.micro_f1_95),
        )
    ]
    if scores.calibration_error is not None:
        rows.append(("calibration error", f"{scores.calibration_error:.3f}", ""))
    command = ""
    if facts.test_data:
        command = f" Again: `pointsman distill eval model.onnx {_code(facts.test_data)}`."
    return (
        f"## Figures\n\nOn {scores.rows:,} {facts.measured_on}.{command}\n\n"
        + _table(("", "", "95 % interval"), rows)
        + f"\n\n{len(facts.onnx):,} bytes; {facts.latency_us_p50:,.0f} µs a text (median, one thread)"
        f" and {facts.train_s:,.1f} s of training on {_plain(facts.machine)}."
        + (f" {facts.learning.told()}" if facts.learning else "")
        + ("" if facts.rejected is None else f"\n\n{_other(facts.rejected)}")
    )


def _other(rejected: float) -> str:
    return (
        f"Of made-up texts that belong to no label, none of them learned from, {rejected:.1%} are told"
        " to be `other`; real ones may lie nearer to the labels."
    )


def _code(text: str) -> str:
    return "".join(each for each in text if each.isprintable() and each != "`")


def _limits(facts: Facts) -> str:
    found = []
    if not facts.test_data:
        found.append(
            "It was measured on rows like those that it learned from. Texts from elsewhere may go"
            " worse: measure it on some with `pointsman distill eval`."
        )
    if facts.teacher:
        found.append(
            "A language model wrote or labelled the rows. What it does not know or gets wrong, this"
            " does too, and people write otherwise than it does."
        )
    few = [name for name, count in facts.label_counts.items() if count < FEW_ROWS]
    if few:
        found.append(f"Fewer than {FEW_ROWS} rows to learn from: {_names(few)}.")
    weak = [each.label for each in facts.scores.classes if each.rows and each.f1 < LOW_F1]
    if weak:
        found.append(f"F1 below {LOW_F1}: {_names(weak)}.")
    pairs = [
        f"{_plain(true)} taken for {_plain(told)} ({count})"
        for true, told, count in mix_ups(facts, SHOWN_MIX_UPS)
    ]
    if pairs:
        found.append(f"Mixed up most: {'; '.join(pairs)}.")
    if not facts.multi and not facts.settings.get("other"):
        found.append(
            "A text that belongs to none of the labels is given one all the same: look at the"
            " probability, or train with `--other`."
        )
    found.append(
        "It sees letters and words, not meaning: irony and what the world knows are lost on it."
    )
    return "## Limits\n\n" + _list(found)


def _names(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_LABELS
    shown = ", ".join(map(_plain, names[:SHOWN_LABELS]))
    return shown + (f" and {rest} more" if rest > 0 else "")


def _rows(facts: Facts) -> str:
    rows = [(what, f"{count:,}") for what, count in facts.counts.items()]
    licence = facts.licence or "not stated: it is that of whoever the rows are from"
    return f"## The rows\n\nFrom {_plain(facts.data)}. Licence: {_plain(licence)}.\n\n" + _table(
        ("rows", ""), rows
    )


def _teacher(teacher: Mapping[str, Any]) -> str:
    cost = f"{teacher.get('cost_usd', 0):,.4f} USD"
    if not teacher.get("price_known", True):
        cost = "cost unknown, as the price is"
    reasons = sorted(teacher.get("reasons", {}).items(), key=lambda each: (-each[1], each[0]))
    body = (
        f"## The teacher\n\n{_plain(str(teacher.get('teacher', '')))}: {teacher.get('calls', 0):,}"
        f" calls, {cost}; {teacher.get('rows', 0):,} rows kept and {teacher.get('rejected', 0):,}"
        f" turned away. Blind, it gave {teacher.get('agreement', 0):.1%} of"
        f" {teacher.get('agreement_rows', 0):,} texts the label that they were written for."
    )
    if reasons:
        lines = [(_plain(reason), f"{count:,}") for reason, count in reasons]
        body += "\n\n" + _table(("turned away because", "rows"), lines)
    return body


def _files(facts: Facts) -> str:
    return (
        "## The files\n\n"
        + _list(
            (
                f"`model.onnx`, SHA-256 `{facts.sha256}`",
                "`report.html`: all figures, and a page to try it on",
                "`programs/`: programs that run it, in twelve languages",
                "`manifest.json`: hashes, seeds, versions and settings",
            )
        )
        + (f"\n\nMade {_plain(facts.created)}." if facts.created else "")
    )
