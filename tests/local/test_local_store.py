"""The store: what is listed, what is trusted, and what may be deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pointsman.errors import LocalError
from pointsman.local.catalogue import Sampling
from pointsman.local.store import Manifest, ModelStore, sha256_of, write_manifest


def put(store: ModelStore, name: str, data: bytes = b"weights", **changes: object) -> Path:
    """Put a model into the store as `pull` does."""
    folder = store.directory / name
    folder.mkdir(parents=True)
    path = folder / "model.gguf"
    path.write_bytes(data)
    fields = {
        "name": name,
        "file": path.name,
        "source": "pypi:x==1",
        "bytes": len(data),
        "sha256": sha256_of(path),
        "licence": "MIT",
        "pulled_at": "2026-11-24T00:00:00+00:00",
        "mtime_ns": path.stat().st_mtime_ns,
        "sampling": Sampling(temperature=0.2),
    }
    write_manifest(folder, Manifest(**{**fields, **changes}))  # type: ignore[arg-type]
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def test_no_folder_is_no_models(store: ModelStore) -> None:
    assert store.names() == [] and store.list() == []
    with pytest.raises(LocalError, match=r"no local model 'a' \(there are: none\)"):
        store.get("a")


def test_a_pulled_model_is_listed_with_what_is_known_of_it(store: ModelStore) -> None:
    path = put(store, "a")
    (found,) = store.list()
    assert (found.name, found.path, found.bytes) == ("a", str(path), 7)
    assert found.verified and found.sha256 == sha256_of(path)
    assert (found.licence, found.source) == ("MIT", "pypi:x==1")
    assert found.sampling.temperature == 0.2


def test_a_configured_file_goes_before_a_pulled_one(store: ModelStore, tmp_path: Path) -> None:
    put(store, "a")
    own = tmp_path / "own.gguf"
    own.write_bytes(b"mine")
    both = ModelStore(store.directory, {"a": (own, 4096), "gone": (tmp_path / "gone.gguf", None)})
    assert both.names() == ["a", "gone"]
    (found,) = both.list()
    assert (found.path, found.context_tokens, found.verified) == (str(own), 4096, False)
    with pytest.raises(LocalError, match="is not there"):
        both.get("gone")
    with pytest.raises(LocalError, match="a file of yours"):
        both.remove("a")
    assert own.exists()
    assert both.verify("a").sha256 == sha256_of(own)


def test_a_touched_file_is_verified_again(store: ModelStore) -> None:
    path = put(store, "a")
    os.utime(path, ns=(1, 1))
    assert not store.get("a").verified
    assert store.verify("a").verified
    assert store.get("a").verified


def test_a_changed_file_is_never_verified(store: ModelStore) -> None:
    path = put(store, "a")
    path.write_bytes(b"poison!")
    os.utime(path, ns=(1, 1))
    assert not store.get("a").verified
    with pytest.raises(LocalError, match="not the one that was pulled"):
        store.verify("a")
    assert not store.get("a").verified


def test_a_change_that_hides_its_time_is_found_by_the_hash(store: ModelStore) -> None:
    path = put(store, "a")
    time_ns = path.stat().st_mtime_ns
    path.write_bytes(b"poison!")
    os.utime(path, ns=(time_ns, time_ns))
    with pytest.raises(LocalError, match="not the one that was pulled"):
        store.verify("a")


def test_removing_deletes_and_says_how_much(store: ModelStore) -> None:
    path = put(store, "a", b"x" * 5000)
    assert store.remove("a") >= 5000
    assert not path.parent.exists() and store.names() == []
    with pytest.raises(LocalError, match="no local model 'a'"):
        store.remove("a")


def test_a_model_without_its_file_can_be_removed(store: ModelStore) -> None:
    put(store, "a").unlink()
    assert store.list() == []
    with pytest.raises(LocalError, match="is gone; pull it again"):
        store.get("a")
    store.remove("a")
    assert store.names() == []


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"name": 1}', b"\xff", b"x" * 2**21])
def test_a_broken_manifest_is_named_and_can_be_removed(store: ModelStore, text: bytes) -> None:
    put(store, "a")
    (store.directory / "a" / "manifest.json").write_bytes(text)
    with pytest.raises(LocalError, match=r"manifest\.json"):
        store.get("a")
    store.remove("a")
    assert store.names() == []


def test_a_manifest_cannot_lead_outside(store: ModelStore) -> None:
    put(store, "a", file="../../secret")
    with pytest.raises(LocalError, match="outside of its folder"):
        store.get("a")


@pytest.mark.parametrize("name", ["..", "../a", ".pull-a", "a/b", "", "ä", "a\0"])
def test_a_name_cannot_lead_outside(store: ModelStore, name: str) -> None:
    put(store, "a")
    for act in (store.get, store.remove, store.verify):
        with pytest.raises(LocalError, match="no model is named"):
            act(name)
    assert store.names() == ["a"]
