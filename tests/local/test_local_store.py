"""The store: what is listed, what is trusted, and what may be deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pointsman.errors import LocalError
from pointsman.local.defaults import Defaults, Sampling
from pointsman.local.manifest import Manifest, StoredFile, note_file, sha256_of
from pointsman.local.names import folder_of, is_name, match_name, name_of
from pointsman.local.store import ConfiguredModel, ModelStore


def put(store: ModelStore, name: str, data: bytes = b"weights", **changes: object) -> Path:
    """Put a model into the store as `pull` does."""
    folder = store.folder(name)
    folder.mkdir(parents=True)
    path = folder / "model.gguf"
    path.write_bytes(data)
    fields = {
        "name": name,
        "source": "pypi:x==1",
        "created_at": "2026-11-24T00:00:00+00:00",
        "files": (note_file(path, sha256_of(path), inside=True),),
        "licence": "MIT",
        "defaults": Defaults(sampling=Sampling(temperature=0.2)),
    }
    store.write(Manifest(**{**fields, **changes}))  # type: ignore[arg-type]
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
    assert found.defaults.sampling.temperature == 0.2


def test_a_configured_file_goes_before_a_pulled_one(store: ModelStore, tmp_path: Path) -> None:
    put(store, "a")
    own = tmp_path / "own.gguf"
    own.write_bytes(b"mine")
    both = ModelStore(
        store.directory,
        {
            "a": ConfiguredModel(own, context_tokens=4096),
            "gone": ConfiguredModel(tmp_path / "gone.gguf"),
        },
    )
    assert both.names() == ["a", "gone"]
    (found,) = both.list()
    assert (found.path, found.defaults.context_tokens, found.verified) == (str(own), 4096, False)
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
    assert store.remove("a").bytes >= 5000
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


@pytest.mark.parametrize("path", ["../../secret", "b/c", "..", ""])
def test_a_manifest_cannot_lead_outside(store: ModelStore, path: str) -> None:
    put(store, "a", files=(StoredFile(path, 1, "0" * 64),))
    with pytest.raises(LocalError, match="outside of its folder"):
        store.get("a")


@pytest.mark.parametrize(
    "name", ["..", "../a", ".pull-a", "a/../b", "a//b", "", "ä", "a\0", "a:b:c"]
)
def test_a_name_cannot_lead_outside(store: ModelStore, name: str) -> None:
    put(store, "a")
    assert not is_name(name)
    for act in (store.get, store.remove, store.verify):
        with pytest.raises(LocalError, match="no local model"):
            act(name)
    with pytest.raises(LocalError, match="cannot be a model's name"):
        store.folder(name)
    assert store.names() == ["a"]


@pytest.mark.parametrize(
    "name", ["smollm2", "qwen3:8b", "user/repo-GGUF:Q4_K_M", "hf.co/u/r:latest"]
)
def test_a_name_and_its_folder_are_one_to_one(store: ModelStore, name: str) -> None:
    assert is_name(name) and name_of(folder_of(name)) == name
    assert "/" not in folder_of(name) and ":" not in folder_of(name)
    put(store, name)
    assert store.names() == [name] and store.get(name).name == name


@pytest.mark.parametrize(
    ("asked", "names", "found"),
    [
        ("a", ["a", "a:latest"], "a"),
        ("a", ["a:latest", "a:8b"], "a:latest"),
        ("a:latest", ["a", "a:8b"], "a"),
        ("A:8B", ["a:8b"], "a:8b"),
        ("u/r", ["u/r:Q4_K_M"], "u/r:Q4_K_M"),
        ("u/r", ["u/r:Q4_K_M", "u/r:Q8_0"], None),
        ("a:8b", ["a"], None),
        ("a", ["ab:1"], None),
    ],
)
def test_what_a_caller_means(asked: str, names: list[str], found: str | None) -> None:
    assert match_name(asked, names) == found


def test_an_unknown_name_names_the_nearest(store: ModelStore) -> None:
    put(store, "qwen3:8b")
    with pytest.raises(LocalError, match=r"there are: qwen3:8b"):
        store.get("qwen3:80b")


def test_a_model_of_several_files_is_verified_as_one(store: ModelStore, tmp_path: Path) -> None:
    outside = tmp_path / "mmproj.gguf"
    outside.write_bytes(b"eyes")
    put(store, "a", projector=note_file(outside, sha256_of(outside), inside=False))
    found = store.get("a")
    assert (found.bytes, found.projector, found.verified) == (11, str(outside), True)
    outside.write_bytes(b"EYES")
    assert not store.get("a").verified
    with pytest.raises(LocalError, match=r"mmproj\.gguf"):
        store.verify("a")


def test_a_file_that_was_never_hashed_is_verified_once(store: ModelStore, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    store.write(Manifest("a", "ollama:a", "", (StoredFile(str(blob), 7, sha256_of(blob)),)))
    assert not store.get("a").verified
    seen: list[tuple[int, int]] = []
    assert store.verify("a", lambda done, total: seen.append((done, total))).verified
    assert seen == [(7, 7)]
    removed = store.remove("a")
    assert removed.kept == (str(blob),) and blob.exists()


def test_a_copy_takes_no_space_and_outlives_the_first(store: ModelStore) -> None:
    path = put(store, "a:1", b"x" * 5000)
    copy = store.copy("a", "b")
    assert os.path.samefile(copy.path, path) and copy.verified
    assert store.remove("a:1").bytes < 5000
    assert store.get("b").verified
    assert store.remove("b").bytes >= 5000


def test_the_configuration_runs_a_pulled_model_with_other_settings(store: ModelStore) -> None:
    path = put(store, "a:1")
    row = ConfiguredModel(ref="a", context_tokens=99, flags={"flash-attn": "on"}, slots=1)
    both = ModelStore(store.directory, {"mine": row, "none": ConfiguredModel(ref="zzz")})
    found = both.get("mine")
    assert (found.name, found.path, found.verified, found.slots) == ("mine", str(path), True, 1)
    assert (found.defaults.context_tokens, found.defaults.flags) == (99, {"flash-attn": "on"})
    os.utime(path, ns=(1, 1))
    assert both.verify("mine").verified
    with pytest.raises(LocalError, match="run: pointsman pull zzz"):
        both.get("none")


def test_a_remote_engine_has_no_file() -> None:
    far = ModelStore(Path("/nowhere"), {"far": ConfiguredModel(url="http://box:8080")})
    assert far.verify("far").url == "http://box:8080"
    assert [each.name for each in far.list()] == ["far"]
