"""New models of old ones and of files: no byte copied, no model lost, every setting kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest
import tiny_gguf
from ollama_files import Blobs, write_head, write_manifest

from pointsman.errors import LocalError, RequestError
from pointsman.local import blobs as blobs_module
from pointsman.local.blobs import BlobWriter, blob_path, has_blob, prune_blobs
from pointsman.local.create import create
from pointsman.local.defaults import Defaults, Sampling
from pointsman.local.manifest import Manifest, note_file, sha256_of
from pointsman.local.ollama.importing import import_models
from pointsman.local.ollama.store import OllamaStore
from pointsman.local.store import ConfiguredModel, LocalModel, ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def parent(store: ModelStore, llama_file: Path) -> LocalModel:
    folder = store.folder("parent:1")
    folder.mkdir(parents=True)
    path = folder / "Tiny.gguf"
    shutil.copy(llama_file, path)
    store.write(
        Manifest(
            "parent:1",
            "hf:a/b",
            "2026-11-24T00:00:00+00:00",
            (note_file(path, sha256_of(path), inside=True),),
            licence="MIT",
            defaults=Defaults(
                sampling=Sampling(temperature=0.5), context_tokens=1024, system="old"
            ),
            warnings=("the parameter 'tfs_z' is left out: gone",),
        )
    )
    return store.get("parent:1")


def send(store: ModelStore, path: Path) -> Path:
    data = path.read_bytes()
    with BlobWriter(store, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)) as out:
        for at in range(0, len(data), 100_000):
            out.write(data[at : at + 100_000])
        return out.finish()


def test_a_child_has_the_parents_file_and_its_own_settings(
    store: ModelStore, parent: LocalModel
) -> None:
    child = create(
        store,
        "me/mario:latest",
        source="parent",
        parameters={"top_k": 5, "num_ctx": 2048, "stop": ["x"], "penalize_newline": True},
        system="You are Mario.",
        messages=[("user", "hi"), ("assistant", "Mamma mia!")],
        licence="CC0",
    )
    assert Path(child.path).name == "me-mario.gguf"
    assert Path(child.path).samefile(parent.path)  # Linked: 0 bytes more.
    assert child.verified and child.sha256 == parent.sha256
    assert child.defaults == Defaults(
        sampling=Sampling(temperature=0.5, top_k=5),
        context_tokens=2048,
        stop=("x",),
        system="You are Mario.",
        messages=(("user", "hi"), ("assistant", "Mamma mia!")),
    )
    assert (child.licence, child.source) == ("CC0", "hf:a/b")
    assert child.warnings == (
        *parent.warnings,
        "the parameter 'penalize_newline' is left out: llama.cpp no longer has it",
    )
    assert store.get("parent:1") == parent
    store.remove("parent:1")
    assert store.verify("me/mario").verified  # It does not need the other.


def test_what_is_not_said_stays_and_an_empty_system_takes_it_away(
    store: ModelStore, parent: LocalModel
) -> None:
    same = create(store, "same", source="parent:1", parameters={"tfs_z": 1})
    assert same.defaults == parent.defaults and same.licence == "MIT"
    assert same.warnings == ()  # What was said of the parameter was said anew: nothing.
    assert create(store, "bare", source="parent:1", system="").defaults.system is None


def test_a_model_can_be_made_of_itself(store: ModelStore, parent: LocalModel) -> None:
    inode = Path(parent.path).stat().st_ino
    changed = create(store, "parent:1", source="parent:1", system="new")
    assert changed.defaults.system == "new" and changed.verified
    assert Path(changed.path).stat().st_ino == inode
    assert [path.name for path in store.folder("parent:1").glob("*.gguf")] == ["parent-1.gguf"]


def test_a_model_of_that_name_is_replaced_and_its_open_file_is_left_alone(
    store: ModelStore, parent: LocalModel, tmp_path: Path
) -> None:
    first = create(store, "child", source="parent:1")
    with Path(first.path).open("rb") as running:
        other = tiny_gguf.write_llama(tmp_path / "other.gguf", seed=5)
        second = create(store, "child", files={"other.gguf": send(store, other)})
        assert running.read() == Path(parent.path).read_bytes()
    assert second.sha256 == sha256_of(other) != first.sha256
    assert second.defaults == Defaults()
    assert [str(path) for path in store.folder("child").glob("*.gguf")] == [second.path]
    # And back, to a name that is in neither one's way.
    assert create(store, "child", source="parent:1").sha256 == first.sha256


def test_files_that_were_sent_become_a_model(
    store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    projector = write_head(tmp_path / "p.gguf", "clip", {"clip.projector_type": "mlp"})
    lora = write_head(tmp_path / "l.gguf", "llama", {"general.type": "adapter"})
    model = create(
        store,
        "sent:1",
        files={"m.gguf": send(store, llama_file), "p.gguf": send(store, projector)},
        adapters={"l.gguf": send(store, lora)},
        parameters={"temperature": 0.1},
    )
    names = [Path(each).name for each in (model.path, model.projector or "", *model.adapters)]
    assert names == ["sent-1.gguf", "sent-1-mmproj.gguf", "sent-1-lora-1.gguf"]
    assert model.verified and model.source == "file:m.gguf" and model.warnings == ()
    assert store.verify("sent:1").sha256 == sha256_of(llama_file)
    assert prune_blobs(store, 0) == 0  # The model has them.
    assert store.verify("sent:1").verified


def test_a_file_of_the_users_is_hashed_and_linked(
    store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.gguf"
    shutil.copy(llama_file, mine)
    told: list[tuple[int, int]] = []
    model = create(
        store,
        "m",
        files={"mine.gguf": mine},
        progress=lambda done, total: told.append((done, total)),
    )
    size = mine.stat().st_size
    assert told[-1] == (size, size)
    assert model.verified and Path(model.path).samefile(mine)
    mine.unlink()
    assert store.verify("m").verified


def test_a_file_on_another_disk_is_served_where_it_lies(
    store: ModelStore, llama_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    model = create(store, "m", files={"mine.gguf": llama_file})
    assert model.path == str(llama_file.resolve()) and model.verified
    with pytest.raises(LocalError, match="cannot be made: Invalid cross-device"):
        create(store, "n", files={"m.gguf": send(store, llama_file)})
    assert store.names() == ["m"]


def test_all_parts_of_a_split_model_keep_their_order(store: ModelStore, tmp_path: Path) -> None:
    parts = {}
    for number in (2, 1):
        values = {"split.count": 2, "split.no": number - 1, "tokenizer.chat_template": "x"}
        path = write_head(tmp_path / f"part{number}", "llama", values, {f"blk.{number}.w": (2, 2)})
        parts[f"x-0000{number}-of-00002.gguf"] = send(store, path)
    model = create(store, "split", files=parts)
    manifest = store.manifest("split")
    assert [each.path for each in manifest.files] == [
        "split-00001-of-00002.gguf", "split-00002-of-00002.gguf",
    ]  # fmt: skip
    assert model.sha256 == sha256_of(tmp_path / "part1")
    with pytest.raises(LocalError, match="the files are no whole model: x-00001-of-00002"):
        create(store, "half", files={name: p for name, p in parts.items() if "-00001-" in name})


def test_a_child_of_an_imported_model_is_served_in_place_too(
    store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    blobs = Blobs()
    manifest = blobs.manifest(llama_file, {"params": {"temperature": 0.3}})
    blobs.write(tmp_path / "ollama")
    write_manifest(tmp_path / "ollama", "registry.ollama.ai/library/q:1", manifest)
    import_models(store, OllamaStore(tmp_path / "ollama"))
    lora = write_head(tmp_path / "l.gguf", "llama", {"general.type": "adapter"})
    child = create(store, "c", source="q", adapters={"l": send(store, lora)}, system="s")
    assert child.path == store.get("q:1").path
    assert child.defaults.sampling.temperature == 0.3
    assert Path(child.adapters[0]).parent == store.folder("c")  # What was sent is taken.


def test_what_cannot_be_made_is_refused_and_leaves_nothing(
    store: ModelStore, parent: LocalModel, llama_file: Path, tmp_path: Path
) -> None:
    clip = write_head(tmp_path / "p.gguf", "clip", {"clip.projector_type": "mlp"})
    lora = write_head(tmp_path / "l.gguf", "llama", {"general.type": "adapter"})
    text = tmp_path / "t.gguf"
    text.write_text("hello " * 9)

    def fails(said: str, **more: object) -> None:
        with pytest.raises((LocalError, RequestError)) as caught:
            create(store, str(more.pop("name", "new")), **more)  # type: ignore[arg-type]
        assert said in caught.value.message

    fails("name one model to begin with")
    fails("name one model to begin with", source="parent:1", files={"a": llama_file})
    fails("no local model 'absent'", source="absent")
    fails("cannot be a model's name", name="../x", source="parent:1")
    fails("t.gguf cannot be used: it is no GGUF file", files={"t": text})
    fails("there is no model among the files", files={"p": clip})
    fails("l is an adapter; name it as one", files={"l": lora})
    fails("the files are no whole model: a, b", files={"a": llama_file, "b": llama_file})
    fails("m is no adapter", source="parent:1", adapters={"m": llama_file})
    fails("a message is of one of system, user, assistant", source="parent:1",
          messages=[("tool", "x")])  # fmt: skip
    assert store.names() == ["parent:1"]


def test_the_configurations_models_are_not_touched(tmp_path: Path, llama_file: Path) -> None:
    store = ModelStore(tmp_path / "m", {"own": ConfiguredModel(path=llama_file)})
    with pytest.raises(LocalError, match="'own' is named in the configuration"):
        create(store, "own", files={"x": llama_file})
    with pytest.raises(LocalError, match="set there what it is to have"):
        create(store, "other", source="own")


def test_a_blob_has_its_name_once_it_is_whole_and_right(store: ModelStore) -> None:
    digest = f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert not has_blob(store, digest)
    with BlobWriter(store, digest) as out:
        out.write(b"ab")
        assert not has_blob(store, digest)
        out.write(b"c")
        path = out.finish()
    assert has_blob(store, digest) and path == blob_path(store, digest)
    assert path.read_bytes() == b"abc"
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(RequestError, match="nothing was kept"), BlobWriter(store, wrong) as out:
        out.write(b"abc")
        out.finish()
    with pytest.raises(ZeroDivisionError), BlobWriter(store, wrong) as out:
        out.write(b"abc")
        raise ZeroDivisionError
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert store.names() == []


@pytest.mark.parametrize("digest", ["sha256:..", "sha256:" + "g" * 64, "", "md5:" + "0" * 64])
def test_a_digest_that_is_none_is_no_path(store: ModelStore, digest: str) -> None:
    with pytest.raises(RequestError, match="is no digest"):
        blob_path(store, digest)


def test_there_must_be_space_for_a_blob(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = f"sha256:{'0' * 64}"
    with pytest.raises(LocalError, match="MiB free; the file needs"):
        BlobWriter(store, digest, 1 << 60)
    monkeypatch.setattr(blobs_module, "CHECK_BYTES", 4)
    with BlobWriter(store, digest) as out:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1}))
        out.write(b"abc")
        with pytest.raises(LocalError, match="MiB free"):
            out.write(b"d")


def test_blobs_that_lie_there_for_a_day_are_deleted(store: ModelStore) -> None:
    paths = []
    for text in (b"old", b"new"):
        with BlobWriter(store, f"sha256:{hashlib.sha256(text).hexdigest()}") as out:
            out.write(text)
            paths.append(out.finish())
    dead = paths[0].with_name(".sha256-dead-0123")
    dead.write_bytes(b"half")
    before = time.time() - 25 * 3600
    os.utime(paths[0], (before, before))
    os.utime(dead, (before, before))
    assert prune_blobs(store) == 7
    assert [path.exists() for path in (*paths, dead)] == [False, True, False]
    assert prune_blobs(ModelStore(store.directory / "none")) == 0
