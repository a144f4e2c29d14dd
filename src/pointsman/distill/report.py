"""The report on a classifier: one HTML file that needs nothing beside it and asks for nothing.

Texts and labels are whatever someone wrote, so all of them are escaped, and the page's policy runs
only the two scripts that are in it, by their hashes: what slips in all the same cannot run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from pointsman.distill import plots
from pointsman.distill.facts import Facts, mix_ups
from pointsman.distill.markup import Raw, page_text, table, tag
from pointsman.distill.metrics import calibration_bins, claims, confusion, hardest

__all__ = ["render"]

# A matrix of more labels is no longer read, and the pairs that are mixed up say it better.
MATRIX_LABELS = 20
SHOWN_LABELS = 30
HARD_ROWS = 20
HARD_CHARS = 400
# A row that is told rightly and as surely as this is not hard.
SURE = 0.9
# A page of over 12 MB is a burden to open.
MAX_MODEL_BYTES = 8 * 1024 * 1024


def render(facts: Facts) -> bytes:
    """Give the page, as UTF-8. The same facts give the same bytes."""
    style, scripts = _part("style.css"), _part("onnx.js") + _part("playground.js")
    with_model = len(facts.onnx) <= MAX_MODEL_BYTES
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}'; base-uri 'none'; form-action 'none'"
        f"; script-src {_source(scripts) if with_model else chr(39) + 'none' + chr(39)}"
    )
    body = [
        _head(facts),
        _playground() if with_model else "",
        _accuracy(facts),
        _per_label(facts),
        _confusions(facts),
        _calibration(facts),
        _hardest(facts),
        _data(facts),
        _teacher(facts.teacher) if facts.teacher else "",
        _making(facts),
    ]
    model = base64.b64encode(facts.onnx).decode() if with_model else ""
    tail = (
        f'<script type="text/plain" id="model">{model}</script><script>{scripts}</script>'
        if with_model
        else ""
    )
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{page_text(facts.name)}: a classifier</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main>{tail}</body></html>\n"
    )
    return page.encode("utf-8", "replace")


@cache
def _part(name: str) -> str:
    return files("pointsman").joinpath(f"data/report/{name}").read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _source(script: str) -> str:
    return f"'sha256-{_hash(script)}'"


def _section(title: str, *parts: str) -> str:
    return tag("section", tag("h2", title), *map(Raw, parts))


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _between(bounds: Sequence[float]) -> str:
    return f"{_percent(bounds[0])} to {_percent(bounds[1])}"


def _size(size_bytes: int) -> str:
    if size_bytes < 1024 * 1024:
        return f"{size_bytes / 1024:.0f} KiB"
    return f"{size_bytes / 1024 / 1024:.2f} MiB"


def _head(facts: Facts) -> str:
    scores, kind = facts.scores, "several of" if facts.multi else "one of"
    learned = facts.counts.get("learned from", 0)
    tiles = (
        ("accuracy", _percent(scores.accuracy), _between(scores.accuracy_95)),
        ("macro-F1", _percent(scores.macro_f1), _between(scores.macro_f1_95)),
        ("one file", _size(len(facts.onnx)), "bytes in, labels out"),
        ("a text", f"{facts.latency_us_p50:,.0f} µs", "median, one thread"),
        ("training", f"{facts.train_s:,.1f} s", f"{learned:,} rows"),
    )
    notes = (facts.teacher or {}).get("notes", [])
    return "".join(
        (
            tag("h1", facts.name),
            tag("p", facts.task) if facts.task else "",
            tag(
                "p",
                f"Tells {kind} {len(facts.labels)} labels of a text. Measured on"
                f" {scores.rows:,} {facts.measured_on}; 95 % intervals.",
                kind="soft",
            ),
            tag("p", *notes[-1:], kind="warn") if facts.too_weak else "",
            tag(
                "div",
                *(
                    Raw(tag("div", tag("small", what), tag("b", value), tag("small", more)))
                    for what, value, more in tiles
                ),
                kind="tiles",
            ),
        )
    )


def _playground() -> str:
    return (
        '<section id="try"><h2>Try it</h2><textarea id="text" aria-label="Text" dir="auto"'
        ' placeholder="Type a text"></textarea><ul id="answer"></ul><p class="soft" id="time">'
        "Needs JavaScript.</p><small>The model is in this page and runs in it: no text leaves"
        " it.</small></section>"
    )


def _accuracy(facts: Facts) -> str:
    scores = facts.scores
    rows = [
        ("accuracy", scores.accuracy, scores.accuracy_95),
        ("macro-F1", scores.macro_f1, scores.macro_f1_95),
        ("micro-F1", scores.micro_f1, scores.micro_f1_95),
    ]
    error = scores.calibration_error
    exact = "all of a text's labels right, and no other" if facts.multi else "the right label told"
    return _section(
        "How well it does",
        table(
            ("", "#", "95 % interval", ""),
            [
                (name, _percent(value), _between(bounds), Raw(plots.interval(value, bounds)))
                for name, value, bounds in rows
            ],
            kinds=("", "", "", "drawn"),
        ),
        tag(
            "p",
            f"Accuracy is the share of texts with {exact}. Macro-F1 weighs each label alike, micro-F1"
            " each text. Accuracy's interval is Wilson's, the others are from 1,000 bootstrap draws."
            + ("" if error is None else f" Calibration error: {error:.3f}."),
            kind="soft",
        ),
        *(tag("p", each, kind="soft") for each in _asides(facts)),
    )


def _asides(facts: Facts) -> list[str]:
    found = [] if facts.learning is None else [facts.learning.told()]
    if facts.rejected is not None:
        found.append(
            f"Of made-up texts that belong to no label, none of them learned from,"
            f" {_percent(facts.rejected)} are told to be other; real ones may lie nearer to the labels."
        )
    return found


def _per_label(facts: Facts) -> str:
    classes = sorted(facts.scores.classes, key=lambda each: (each.f1, each.label))
    rows = [
        (
            each.label,
            Raw(plots.share_bar(each.f1)),
            _percent(each.f1),
            _percent(each.precision),
            _percent(each.recall),
            f"{each.rows:,}",
            f"{each.told:,}",
        )
        for each in classes
    ]
    heads = ("label", "", "#F1", "#precision", "#recall", "#true", "#told")
    kinds = ("", "drawn")
    parts = [table(heads, rows[:SHOWN_LABELS], kinds)]
    if rows[SHOWN_LABELS:]:
        more = f"the other {len(rows) - SHOWN_LABELS}, which do better"
        parts.append(
            tag("details", Raw(tag("summary", more)), Raw(table(heads, rows[SHOWN_LABELS:], kinds)))
        )
    return _section("Label by label, the worst first", *parts)


def _confusions(facts: Facts) -> str:
    told = facts.told
    if not told.truth:
        return ""
    parts = []
    if 2 <= len(facts.labels) <= MATRIX_LABELS:
        cells = confusion(told.truth, told.told, facts.labels)
        drawn = plots.matrix(facts.labels, cells)
        parts.append(tag("div", Raw(drawn), kind="scroll"))
        parts.append(
            tag(
                "p",
                "Rows are what is true, columns what was told; shade is of the row.",
                kind="soft",
            )
        )
    pairs = mix_ups(facts)
    if pairs:
        parts.append(
            table(("true", "told", "#times"), [(a, b, f"{count:,}") for a, b, count in pairs])
        )
    else:
        parts.append(tag("p", "Nothing was taken for anything else."))
    return _section("What is taken for what", *parts)


def _calibration(facts: Facts) -> str:
    told = facts.told
    if not told.truth:
        return ""
    bins = calibration_bins(*claims(told.truth, facts.labels, told.probabilities, facts.multi))
    return _section(
        "Whether its probabilities can be taken at their word",
        plots.calibration(bins),
        tag(
            "p",
            "Each dot is as many predictions as any other. On the dashed line, what was said to be"
            " 80 % sure is right 80 times in 100; above it the classifier is too modest, below it too"
            " sure.",
            kind="soft",
        ),
    )


def _hardest(facts: Facts) -> str:
    told = facts.told
    if not told.truth:
        return ""
    found = hardest(
        told.truth,
        told.told,
        facts.labels,
        told.probabilities,
        multi=facts.multi,
        count=HARD_ROWS,
    )
    rows = [
        (
            _cut(told.texts[each.index]),
            ", ".join(each.truth) or "none",
            ", ".join(each.told) or "none",
            _percent(each.p),
        )
        for each in found
        if each.p < SURE or each.truth != each.told
    ]
    if not rows:
        return ""
    return _section(
        "The hardest rows",
        table(("text", "true", "told", "#sure of the truth"), rows, kinds=("text", "", "", "")),
        tag(
            "p",
            "Often it is the row's label that is wrong: look before you blame the model.",
            kind="soft",
        ),
    )


def _cut(text: str) -> str:
    return text if len(text) <= HARD_CHARS else text[:HARD_CHARS] + "…"


def _data(facts: Facts) -> str:
    labels = sorted(facts.label_counts.items(), key=lambda each: (-each[1], each[0]))
    most = max(facts.label_counts.values(), default=0) or 1
    rows = [(label, Raw(plots.share_bar(count / most)), f"{count:,}") for label, count in labels]
    shown = table(("label", "", "#rows"), rows, ("", "drawn"))
    if len(rows) > SHOWN_LABELS:
        shown = tag(
            "details", Raw(tag("summary", f"rows of each of {len(rows)} labels")), Raw(shown)
        )
    source = [("trained on", facts.data)]
    if facts.test_data:
        source.append(("measured on", facts.test_data))
    counts = [(what, f"{count:,}") for what, count in facts.counts.items()]
    return _section(
        "The rows",
        table(None, source, kinds=("", "wide")),
        table(("rows", "#"), counts),
        shown,
    )


def _teacher(teacher: Mapping[str, Any]) -> str:
    cost = f"${teacher.get('cost_usd', 0):,.4f}"
    if not teacher.get("price_known", True):
        cost = "unknown: the teacher's price is not known"
    kappa = teacher.get("kappa")
    agreement = f"{_percent(teacher.get('agreement', 0))} of {teacher.get('agreement_rows', 0):,}"
    facts = [
        ("teacher", teacher.get("teacher", "")),
        ("cost", cost),
        ("calls", f"{teacher.get('calls', 0):,}"),
        ("tokens in", f"{teacher.get('input_tokens', 0):,}"),
        ("tokens out", f"{teacher.get('output_tokens', 0):,}"),
        ("rows kept", f"{teacher.get('rows', 0):,}"),
        ("rows turned away", f"{teacher.get('rejected', 0):,}"),
        (
            "agrees with itself, blind",
            agreement + ("" if kappa is None else f", kappa {kappa:.2f}"),
        ),
        ("ended because", teacher.get("ended", "")),
    ]
    if teacher.get("lost_usd"):
        facts.append(("lost to answers that never came", f"at most ${teacher['lost_usd']:,.4f}"))
    reasons = sorted(teacher.get("reasons", {}).items(), key=lambda each: (-each[1], each[0]))
    parts = [table(None, facts, kinds=("", "wide"))]
    if reasons:
        parts.append(table(("turned away because", "#rows"), [(a, f"{b:,}") for a, b in reasons]))
    if teacher.get("curve"):
        steps = [(f"{rows:,}", _percent(share)) for rows, share in teacher["curve"]]
        parts.append(table(("#rows", "#a student's agreement on held-out rows"), steps))
    parts += [tag("p", note, kind="soft") for note in teacher.get("notes", [])]
    return _section("The teacher", *parts)


def _making(facts: Facts) -> str:
    rows: list[tuple[str, Any]] = [
        ("made", facts.created),
        ("model's SHA-256", Raw(tag("code", facts.sha256))),
        ("machine", facts.machine),
        *_pairs("setting", facts.settings),
        *_pairs("version of", facts.versions),
    ]
    if facts.licence:
        rows.insert(1, ("licence of the data", facts.licence))
    test = facts.test_data or "DATA"
    return _section(
        "How it was made",
        table(None, [row for row in rows if row[1] != ""], kinds=("", "wide")),
        tag("p", "To measure it again:"),
        tag("pre", Raw(tag("code", f"pointsman distill eval model.onnx {test}"))),
    )


def _pairs(what: str, values: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        if value is not None:
            yield f"{what} {name}", str(value)
