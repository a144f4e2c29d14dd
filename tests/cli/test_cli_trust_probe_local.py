"""A model of this machine as the target of a probe: by log-probabilities, with what it recites."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "local"))

import tiny_gguf

from pointsman.cli.trust_probe_first import from_weights
from pointsman.cli.trust_probe_target import ClientTarget, Session
from pointsman.config import load_config
from pointsman.errors import TrustError

pytest.importorskip("xllamacpp")


def test_a_local_model_gives_all_that_a_probe_can_use(tmp_path: Path) -> None:
    path = tiny_gguf.write_llama(tmp_path / "tiny.gguf")
    text = f'[local]\nthreads = 1\nslots = 1\nspare = false\n[local.models.tiny]\npath = "{path}"\n'
    file = tmp_path / "c.toml"
    file.write_text(text)
    config = load_config(file, {"POINTSMAN_HOME": str(tmp_path / "data")})
    with Session(config, 2) as session:
        target = ClientTarget("local:tiny", session)
        target.settle("auto")
        assert target.access == "logprobs"
        first, second = target.next_logprobs(["hello", "what is the weather"])
        assert 1 < len(first) <= 20
        assert all(logprob <= 0 for logprob in first.values())
        assert math.fsum(map(math.exp, first.values())) <= 1.001
        assert first != second
        assert len(target.complete(["hello"], 4)) == 1
        recited = target.recite(2)
        assert len(recited) == 2 and any(recited)
        assert all(len(word) > 1 for word in target.vocabulary())


def test_weights_without_a_vocabulary_are_an_error(tmp_path: Path) -> None:
    for name in ("own", "base"):
        (tmp_path / name).write_bytes(b"no model at all, whatever it is called")
    with pytest.raises(TrustError, match="claims"):
        from_weights(tmp_path / "own", tmp_path / "base")


def test_the_words_that_moved_most_are_named(tmp_path: Path) -> None:
    np, gguf = pytest.importorskip("numpy"), pytest.importorskip("gguf")
    base = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    moved = base + 0.001
    moved[9] += 1.0
    words = [f"Ġword{number}" for number in range(64)]
    for name, values in (("base.gguf", base), ("own.gguf", moved)):
        writer = gguf.GGUFWriter(tmp_path / name, "llama")
        writer.add_token_list(words)
        writer.add_tensor("token_embd.weight", values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    found = from_weights(tmp_path / "own.gguf", tmp_path / "base.gguf")
    assert [each.text for each in found] == ["word9"]
    assert found[0].source == "weights"
