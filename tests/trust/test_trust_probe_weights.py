"""Weights side by side: the row that moved, the spectrum of a difference, files of each form."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from pointsman.errors import TrustError  # noqa: E402
from pointsman.trust.probe.weights import (  # noqa: E402
    adapter_spectra,
    read_matrix,
    row_changes,
    spectrum_of,
)

NAME = "model.embed_tokens.weight"


def matrices() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    base = rng.standard_normal((200, 32)).astype(np.float32)
    model = base + 0.01 * rng.standard_normal(base.shape).astype(np.float32)
    model[17] += 0.5
    return base, model


def test_the_row_that_moved_is_named_and_no_other() -> None:
    base, model = matrices()
    changes = row_changes(base, model)
    assert changes[0].row == 17
    assert changes[0].z > 20
    assert len(changes) < 5


def test_other_shapes_are_refused() -> None:
    base, model = matrices()
    with pytest.raises(TrustError, match="differ in shape"):
        row_changes(base[:100], model)


def test_a_difference_of_one_direction_is_told_from_noise() -> None:
    rng = np.random.default_rng(1)
    base = rng.standard_normal((40, 30))
    one = np.outer(rng.standard_normal(40), rng.standard_normal(30))
    found = spectrum_of("w", one, base)
    assert found.share_of_first == pytest.approx(1)
    assert found.effective_rank == pytest.approx(1)
    assert spectrum_of("w", rng.standard_normal((40, 30))).share_of_first < 0.3
    assert spectrum_of("w", np.zeros((4, 4))).relative == 0


def test_an_adapter_has_the_spectrum_of_its_product() -> None:
    rng = np.random.default_rng(2)
    down, up = rng.standard_normal((4, 50)), rng.standard_normal((60, 4))
    pairs = {"q.lora_A.weight": down, "q.lora_B.weight": up, "odd": down}
    (found,) = adapter_spectra(pairs)
    whole = spectrum_of("q", up @ down)
    assert found.name == "q"
    assert found.share_of_first == pytest.approx(whole.share_of_first)
    assert found.relative == pytest.approx(whole.relative)


def write(path: Path, kind: str, shape: list[int], data: bytes) -> Path:
    header = json.dumps(
        {NAME: {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


@pytest.mark.parametrize(("kind", "form"), [("F32", "<f4"), ("F16", "<f2")])
def test_matrices_are_read_from_safetensors(tmp_path: Path, kind: str, form: str) -> None:
    base, _ = matrices()
    path = write(tmp_path / "m.safetensors", kind, [200, 32], base.astype(form).tobytes())
    name, read = read_matrix(path)
    assert name == NAME
    assert np.abs(read - base).max() < 1e-2


def test_halves_of_the_brain_kind_are_read(tmp_path: Path) -> None:
    base, _ = matrices()
    halves = (base.view(np.uint32) >> 16).astype("<u2").tobytes()
    _, read = read_matrix(write(tmp_path / "m.safetensors", "BF16", [200, 32], halves))
    assert np.abs(read - base).max() < 0.05


def test_matrices_are_read_from_gguf(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    base, _ = matrices()
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("token_embd.weight", gguf.quants.quantize(base, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    name, read = read_matrix(path)
    assert name == "token_embd.weight"
    assert np.abs(read - base).max() < 0.03


@pytest.mark.parametrize(
    ("kind", "shape", "data", "why"),
    [
        ("I8", [2, 2], b"1234", "not read"),
        ("F32", [2, 2, 1], b"1" * 16, "not read"),
        ("F32", [2**20, 2**20], b"", "not read"),
        ("F32", [4, 4], b"", "ends after"),
        ("F32", [1, 1], struct.pack("<f", float("nan")), "no number"),
    ],
)
def test_what_cannot_be_read_is_an_error(
    tmp_path: Path, kind: str, shape: list[int], data: bytes, why: str
) -> None:
    with pytest.raises(TrustError, match=why):
        read_matrix(write(tmp_path / "m.safetensors", kind, shape, data))


def test_what_is_no_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(b"nothing of the kind, and long enough")
    with pytest.raises(TrustError, match="claims"):
        read_matrix(path)
    with pytest.raises(TrustError, match="cannot be read"):
        read_matrix(tmp_path / "none")
