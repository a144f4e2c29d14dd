"""The report: escaped, sealed off, the same for the same facts, and a page that runs the model."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from golden_facts import LABELS, TEACHER, TEXTS, facts_with
from golden_pages import in_chromium
from golden_standin import standin
from golden_texts import Answer, assert_same, golden_texts, reference
from golden_tools import call, program

from pointsman.distill import report
from pointsman.distill.facts import Told
from pointsman.distill.report import render
from pointsman.distill.rows import Row
from pointsman.distill.train import TrainSettings, train

SCRIPTS = Path(report.__file__).parent.parent / "data" / "report"
VOID = {"meta", "br", "rect", "line", "polyline"}
# The interpreter takes seconds for 100 kB; in the browser it is given those as well.
SHORT_BYTES = 10_000


class Page(HTMLParser):
    """What a browser would see: elements, their texts, and whether each is closed."""

    def __init__(self, data: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(data.decode("utf-8"))
        assert self.open == []

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attrs)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((name, dict(attrs)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == name]


def test_nothing_that_someone_wrote_becomes_markup() -> None:
    data = render(facts_with(teacher=TEACHER, task="tell <b>tickets</b> apart"))
    page = Page(data)
    assert {"img", "i"}.isdisjoint(name for name, _ in page.found)
    assert len(page.named("script")) == 2
    shown = page.texts["bdi"]
    # The rows told wrongly or unsurely, and what is in their way.
    assert TEXTS[1] in shown
    assert LABELS[1] in shown
    assert "label | disagrees" in shown and "openai:<b>model</b>" in shown
    assert "tell <b>tickets</b> apart" in page.texts["p"]
    assert page.texts["h1"] == ["tickets & <co>"]


def test_what_cannot_be_shown_is_made_visible_and_what_is_long_is_cut() -> None:
    facts = facts_with()
    wrong = [("billing",)] * len(TEXTS)
    told = Told(TEXTS, [(LABELS[2],)] * len(TEXTS), wrong, facts.told.probabilities)
    data = render(facts_with(told=told))
    assert b"\x1b" not in data
    shown = Page(data).texts["bdi"]
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩ and ␛[31mred␛[0m" in shown
    assert "lone ? surrogate" in shown
    assert TEXTS[4] in shown and TEXTS[7] in shown
    assert max(map(len, shown)) == report.HARD_CHARS + 1


def test_the_page_may_load_nothing_and_runs_only_what_is_in_it() -> None:
    page = Page(render(facts_with()))
    (policy,) = (
        each["content"]
        for each in page.named("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    (script,) = (text for text in page.texts["script"] if "loadClassifier" in text)
    (style,) = page.texts["style"]
    for part, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert parts[part] == f"'sha256-{digest}'"
    for name, attributes in page.found:
        assert not {"src", "href", "style", "onclick", "srcset"} & attributes.keys(), name
    assert not re.search(r"url\(|@import|https?://", style)


def test_the_page_holds_the_model_and_the_same_facts_give_the_same_page() -> None:
    facts = facts_with()
    data = render(facts)
    page = Page(data)
    assert base64.b64decode(page.texts["script"][0]) == facts.onnx
    assert data == render(facts_with())
    assert facts.sha256 in page.texts["code"]


def test_what_is_known_is_told() -> None:
    text = render(facts_with(teacher=TEACHER)).decode()
    for each in (
        "75.0%",
        "75.0%",
        "62 µs",
        "12.3 s",
        "990 rows",
        "test.jsonl",
        "$1.2500",
        "kappa 0.81",
    ):
        assert each in text, each
    assert "near duplicate" in text and ">90<" in text
    assert "too weak" not in text
    assert 'aria-label="Confusion matrix"' in text and 'aria-label="Calibration"' in text


def test_a_teacher_that_is_too_weak_is_said_so_at_the_top() -> None:
    weak = {
        **TEACHER,
        "too_weak": True,
        "notes": ["a note", "the teacher is too weak: do not rely"],
    }
    text = render(facts_with(teacher=weak)).decode()
    warning = text.index('class="warn">the teacher is too weak')
    assert warning < text.index("Try it")
    unknown = render(facts_with(teacher={**TEACHER, "price_known": False})).decode()
    assert "price is not known" in unknown and "$1.25" not in unknown


def test_many_labels_have_no_matrix_and_multi_label_rows_may_have_none() -> None:
    labels = tuple(f"label {number}" for number in range(60))
    truth = [(label,) for label in labels]
    told = [truth[0], *truth[:-1]]
    rows = [[1 / 60] * 60 for _ in labels]
    facts = facts_with(
        labels=labels,
        onnx=standin(labels, multi=False),
        told=Told([f"text {each}" for each in labels], truth, told, rows),
        label_counts=dict.fromkeys(labels, 1),
    )
    text = render(facts).decode()
    assert "Confusion matrix" not in text and "label 58" in text and "<details>" in text
    several = facts_with(multi=True, told=Told(["a"], [()], [("日本語",)], [[0.1, 0.2, 0.7, 0.1]]))
    assert ">none<" in render(several).decode()
    assert render(facts_with(told=Told((), (), (), ())))


def test_a_model_too_large_for_a_page_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MAX_MODEL_BYTES", 100)
    page = Page(render(facts_with()))
    assert page.named("script") == [] and page.named("textarea") == []
    (policy,) = (each["content"] for each in page.named("meta") if "http-equiv" in each)
    assert policy and "script-src 'none'" in policy


@pytest.fixture(scope="module")
def trained() -> dict[str, bytes]:
    """Classifiers as they are trained, of both kinds, with and without an other class."""
    rows = [
        Row(f"{word} {number} {word[::-1]} {'é🎉中'[number % 3]}", (label,))
        for number in range(40)
        for word, label in (("refund my payment", "billing"), ("it crashes", "technical"))
    ]
    both = [
        Row(f"{a.text} {b.text}", (*a.labels, *b.labels))
        for a, b in zip(rows[::2], rows[1::2], strict=True)
    ]
    settings = TrainSettings(size_bytes=64 * 1024, quick=True)
    return {
        "single": train(rows, settings).onnx,
        "multi": train(rows + both, settings).onnx,
    }


RUN = """
import { readFileSync } from "node:fs";
const texts = JSON.parse(readFileSync(process.argv[2])), found = [];
const classify = loadClassifier(new Uint8Array(readFileSync(process.argv[3])));
for (const text of texts) {
  const { scores, names, labels } = classify(new Uint8Array(Buffer.from(text, "base64")));
  found.push([labels, Object.fromEntries(names.map((name, at) => [name, scores[at]]))]);
}
console.log(JSON.stringify(found));
"""


def interpreted(model: bytes, texts: list[bytes], folder: Path) -> list[Answer]:
    """What the page's interpreter says, run by Node."""
    (folder / "run.mjs").write_text((SCRIPTS / "onnx.js").read_text("utf-8") + RUN)
    (folder / "model.onnx").write_bytes(model)
    (folder / "texts.json").write_text(
        json.dumps([base64.b64encode(text).decode() for text in texts])
    )
    output = call([program("node"), "run.mjs", "texts.json", "model.onnx"], cwd=folder)
    return [Answer(*each) for each in json.loads(output)]


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_interpreter_agrees_on_the_golden_texts(
    kind: str, tmp_path: Path, trained: dict[str, bytes]
) -> None:
    texts = [text for text in golden_texts() if len(text) < SHORT_BYTES]
    # What comes after the logits is all that is different.
    texts = texts if kind == "single" else texts[::10]
    found = interpreted(trained[kind], texts, tmp_path)
    assert_same(found, reference(trained[kind], texts))


@pytest.mark.slow
def test_the_page_runs_the_model_in_a_browser_and_asks_for_nothing(
    tmp_path: Path, trained: dict[str, bytes]
) -> None:
    facts = facts_with(onnx=trained["single"])
    page = tmp_path / "report.html"
    page.write_bytes(render(facts))
    script = """async (texts) => {
        const model = Uint8Array.from(
            atob(document.querySelector("#model").textContent), (letter) => letter.charCodeAt(0));
        const classify = loadClassifier(model);
        const found = texts.map((text) =>
            classify(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))));
        const input = document.querySelector("#text");
        input.value = "refund my payment";
        input.dispatchEvent(new Event("input"));
        const row = document.querySelector("#answer li");
        return {
            found: found.map(({ scores, names, labels }) =>
                [labels, Object.fromEntries(names.map((name, at) => [name, scores[at]]))]),
            shown: [row.className, row.querySelector(".name").textContent],
            hacked: "hacked" in window,
            wide: document.documentElement.scrollWidth,
        };
    }"""
    texts = golden_texts()
    wanted = [base64.b64encode(text).decode() for text in texts]
    answer = in_chromium(page.as_uri(), script, wanted, tmp_path, width=390)
    assert answer["errors"] == []
    assert answer["requests"] == [page.as_uri()]
    value = answer["value"]
    assert_same([Answer(*each) for each in value["found"]], reference(facts.onnx, texts))
    assert value["shown"] == ["applies", "billing"]
    assert not value["hacked"]
    assert value["wide"] <= 390


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-40], "broken"),
        (lambda data: b"\xff" * 50, "broken"),
        (lambda data: b"", "no graph"),
        (lambda data: data.replace(b"CumSum", b"CumSom"), "no operator CumSom"),
        (lambda data: data.replace(b"scores", b"scored"), "no classifier"),
    ],
)
def test_the_interpreter_says_what_is_wrong_with_a_model(
    change: object, said: str, tmp_path: Path, trained: dict[str, bytes]
) -> None:
    assert callable(change)
    with pytest.raises(AssertionError, match=said):
        interpreted(change(trained["single"]), [b"text"], tmp_path)
