"""Training, the file that comes out, and the runtime that reads it."""

from __future__ import annotations

import math
import sys

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from router_pair import STRONG, WEAK

from pointsman.errors import MissingExtra, RouteError
from pointsman.router import classifier as module
from pointsman.router.classifier import OnnxClassifier, default_classifier
from pointsman.router.features import VERSION, look
from pointsman.router.matrix import CLIP, bucketed
from pointsman.router.rows import Outcome, Row
from pointsman.router.train import train

PROMPTS = ("", "hi", "What is 12 × 3?\nA. 36\nB. 15\nAnswer:", "\ud800", "prove it " * 4000)


def test_the_same_rows_give_the_same_bytes(pair, trained):
    rows, others = pair
    again = train([*rows, *others], STRONG, WEAK, licence="MIT", created="2026-11-24")
    assert again.model == trained.model
    assert again.held_out == trained.held_out
    assert train(rows, STRONG, WEAK).model != trained.model


def test_the_card_says_what_was_learned_from(trained, router):
    card = router.card
    assert card == trained.card
    assert (card.strong, card.weak, card.rows, card.other_rows) == (STRONG, WEAK, 150, 50)
    assert (card.licence, card.created, card.features) == ("MIT", "2026-11-24", VERSION)
    assert len(card.data_sha256) == 64
    assert len(card.quantiles) == 101


def test_held_out_rows_are_ranked_better_than_by_chance_backwards(pair, trained):
    # 150 rows teach little; but a sign turned round would show.
    rows, _ = pair
    assert len(trained.held_out) == len(rows)
    assert all(0 < p < 1 for p in trained.held_out)
    mean_true = sum(r.models[WEAK].share >= r.models[STRONG].share for r in rows) / len(rows)
    assert sum(trained.held_out) / len(rows) == pytest.approx(mean_true, abs=0.02)


def test_a_lesson_that_is_there_is_learned():
    def row(n: int) -> Row:
        hard = n % 2
        text = f"integral of x^{n} over dx" if hard else f"name a colour like number {n}"
        return Row(text, {"s": Outcome(1), "w": Outcome(1 - hard)})

    trained = train([row(n) for n in range(300)], "s", "w")
    router = OnnxClassifier.load(trained.model, "it")
    hard, easy = router.estimate("integral of y over dy"), router.estimate("name a colour")
    assert hard.p_weak < 0.3 < 0.7 < easy.p_weak
    assert hard.rank < 0.5 < easy.rank
    pushes = dict(router.pushes("integral of colour"))
    assert pushes["word:integral"] < 0 < pushes["word:colour"]


def test_training_refuses_what_cannot_be_learned(pair):
    rows, _ = pair
    with pytest.raises(RouteError, match="49 rows are too few"):
        train(rows[:49], STRONG, WEAK)
    with pytest.raises(RouteError, match="as good or better on all rows"):
        train([Row(str(n), {"s": Outcome(1), "w": Outcome(0)}) for n in range(60)], "s", "w")
    with pytest.raises(RouteError, match="no row has an outcome of 'nobody'"):
        train(rows, STRONG, "nobody")
    with pytest.raises(RouteError, match="outcomes of two models"):
        train([Row(str(n), {"s": Outcome(1)}) for n in range(60)])


@pytest.mark.parametrize("missing", ["numpy", "scipy", "onnx"])
def test_without_the_extra_it_says_what_to_install(pair, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"pointsman\[train\]"):
        train(pair[0], STRONG, WEAK)


def test_without_onnxruntime_it_says_what_to_install(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pointsman\[router\]"):
        OnnxClassifier.load(trained.model, "it")


def test_progress_comes_to_its_end(pair):
    seen: list[tuple[int, int | None]] = []
    train(pair[0], STRONG, WEAK, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def reference(model: onnx.ModelProto, text: str) -> np.ndarray:
    """The graph's formula in numpy, in double precision."""
    value = {
        each.name: numpy_helper.to_array(each).astype(float) for each in model.graph.initializer
    }
    sight = look(text)
    buckets = bucketed(sight.words)
    words = value["table"][buckets].sum(0) / np.sqrt(len(buckets)) * value["scale"]
    plain = np.clip((np.array(sight.surface) - value["mean"]) * value["inverse"], -CLIP, CLIP)
    return words + plain @ value["weights"] + value["bias"]


@pytest.mark.parametrize("shipped", [False, True])
def test_the_graph_equals_its_formula(trained, pair, shipped):
    data = module.files("pointsman").joinpath(module.SHIPPED).read_bytes()
    data = data if shipped else trained.model
    router, model = OnnxClassifier.load(data, "it"), onnx.load_from_string(data)
    for text in (*PROMPTS, *(row.prompt for row in pair[0][:40])):
        reading = router.read(text)
        ease, weak, strong, log_tokens, common = reference(model, text)
        common /= np.sqrt(len(bucketed(look(text).words)))
        assert reading.familiar == pytest.approx(router.card.familiar(common), abs=1e-4)
        familiar = reading.familiar
        assert reading.loadings == pytest.approx(
            (1.0, ease, weak * familiar, strong * familiar), abs=1e-4
        )
        assert reading.difficulty == -reading.loadings[1]
        assert math.log(reading.answer_tokens) == pytest.approx(log_tokens, abs=1e-4)


def test_the_shipped_router_is_small_and_says_whose_data_it_is():
    router = default_classifier()
    assert router.size_bytes <= 64 * 1024
    assert router.card.licence == "outcomes Apache-2.0 and MIT; prompts as card.md says"
    page = module.files("pointsman").joinpath("data/router/card.md").read_text("utf-8")
    assert "CC-BY-SA-4.0" in page and f"{router.card.other_rows:,}" in page
    assert default_classifier() is router


def test_the_shipped_router_is_above_chance_on_prompts_it_never_saw(pair):
    from pointsman.router.evaluate import evaluate

    # The fixture is of the dev split: no row of it was trained on.
    rows, _ = pair
    found = evaluate(
        [default_classifier().estimate(row.prompt).p_weak for row in rows],
        [row.models[WEAK].share for row in rows],
        [row.models[STRONG].share for row in rows],
    )
    assert found.apgr > 0.5


def test_ranks_lie_from_0_to_1_and_rise_with_p(router):
    values = [router.card.rank(n / 200) for n in range(201)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.0, 1.0)


def test_without_a_pair_it_is_the_one_with_most_rows_in_common(pair, trained):
    rows, others = pair
    found = train([*rows, *others], licence="MIT", created="2026-11-24")
    assert {found.card.strong, found.card.weak} == {STRONG, WEAK}
    assert found.card.abilities.recorded.keys() == trained.card.abilities.recorded.keys()


def test_any_two_models_can_be_compared(router, pair):
    rows, _ = pair
    own = router.comparison(STRONG, WEAK)
    text = rows[0].prompt
    assert own.p_weak(text) == router.estimate(text).p_weak
    unknown = router.comparison("somebody", "nobody")
    assert (unknown.strong.source, unknown.weak.source) == ("nothing known", "nothing known")
    # Who is said to be the stronger is taken for it, and the ranks still differ by prompt.
    found = [unknown.p_weak(row.prompt) for row in rows]
    assert all(0 < p < 1 for p in found) and len(set(found)) > len(found) / 2


def test_familiar_prompts_are_known_from_foreign_ones(router, pair):
    rows, _ = pair
    own = sum(router.read(row.prompt).familiar for row in rows) / len(rows)
    assert own > 0.9 > router.read("xq zzv jjk wqo pfft glorp 鬱 蘭 ѝ").familiar


def test_broken_and_foreign_files_are_refused(trained, tmp_path):
    def refused(data: bytes, why: str) -> None:
        with pytest.raises(RouteError, match=why) as caught:
            OnnxClassifier.load(data, "my.onnx")
        assert "my.onnx" in caught.value.message

    refused(b"", "cannot be loaded")
    refused(b"not a model", "cannot be loaded")
    refused(trained.model[: len(trained.model) // 2], "cannot be loaded")
    refused(b"\0" * (module.MAX_MODEL_BYTES + 1), "is no router: over")
    refused(foreign({}), "is no router of Pointsman's")
    refused(foreign({"pointsman": "{"}), "has no card that can be read")
    refused(foreign({"pointsman": '{"features": 1}'}), f"features 1; this is {VERSION}: train anew")
    card = msgspec.json.encode(trained.card).decode()
    refused(foreign({"pointsman": card}), "does not run as a router")
    with pytest.raises(RouteError, match="cannot be read"):
        OnnxClassifier.open(tmp_path / "none.onnx")


def test_a_router_is_read_from_a_file(trained, tmp_path):
    path = tmp_path / "r.onnx"
    path.write_bytes(trained.model)
    assert OnnxClassifier.open(path).estimate("hi") == OnnxClassifier.load(
        trained.model, "r"
    ).estimate("hi")


def foreign(facts: dict[str, str]) -> bytes:
    """A sound model of somebody else's, with these facts."""
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "foreign",
        [helper.make_tensor_value_info("x", kind, [1])],
        [helper.make_tensor_value_info("y", kind, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    helper.set_model_props(model, facts)
    return model.SerializeToString()
