"""Ollama's store on our list: found, served in place, brought up to date, and never trusted."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_gguf
from ollama_files import MANIFEST, MANIFEST_LIST, Blobs, write_head, write_manifest

from pointsman.errors import LocalError
from pointsman.local.create import create
from pointsman.local.manifest import Manifest, note_file, sha256_of
from pointsman.local.ollama.architectures import NEEDS_OLLAMA
from pointsman.local.ollama.importing import Imported, import_models
from pointsman.local.ollama.store import OllamaStore, find_store, places
from pointsman.local.store import ConfiguredModel, ModelStore

LIBRARY = "registry.ollama.ai/library"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home" / "models")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ollama" / "models"


class Theirs:
    """An Ollama store that is being filled."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder = folder
        self.weights = weights
        self.blobs = Blobs()

    def add(self, name: str, texts: Any = None, *, newer: bool = False, **more: Any) -> Path:
        manifest = self.blobs.manifest(more.pop("weights", self.weights), texts, **more)
        self.blobs.write(self.folder)
        return write_manifest(self.folder, name, manifest, newer=newer)

    def read(self) -> OllamaStore:
        return OllamaStore(self.folder)


@pytest.fixture
def theirs(folder: Path, llama_file: Path) -> Theirs:
    return Theirs(folder, llama_file)


def one(store: ModelStore, theirs: Theirs) -> Imported:
    (found,) = import_models(store, theirs.read())
    return found


def test_a_hundred_models_are_listed_and_served_where_they_lie(
    store: ModelStore, theirs: Theirs, folder: Path, llama_file: Path
) -> None:
    for number in range(100):
        theirs.add(f"{LIBRARY}/model{number}:8b", {"params": {"temperature": number / 100}})
    found = import_models(store, theirs.read())
    assert [each.status for each in found] == ["imported"] * 100
    assert {each.name for each in found} == {f"model{number}:8b" for number in range(100)}
    blob = str(folder.resolve() / "blobs" / f"sha256-{sha256_of(llama_file)}")
    assert {each.path for each in found} == {blob}
    assert {each.sha256 for each in found} == {sha256_of(llama_file)}
    assert not any(each.verified for each in found)  # Nothing was hashed.
    # 0 bytes are copied: what we have is manifests.
    kept = [path for path in store.directory.rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"manifest.json"}
    model = store.get("model7:8b")
    assert (model.source, model.defaults.sampling.temperature) == ("ollama:model7:8b", 0.07)
    assert model.bytes == llama_file.stat().st_size and model.warnings == ()


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (f"{LIBRARY}/qwen3:8b", "qwen3:8b"),
        (f"{LIBRARY}/llama3.2:latest", "llama3.2:latest"),
        ("registry.ollama.ai/someone/mario:v1", "someone/mario:v1"),
        ("ollama.com/library/qwen3:0.6b", "qwen3:0.6b"),
        ("hf.co/user/Repo-GGUF:Q4_K_M", "hf.co/user/Repo-GGUF:Q4_K_M"),
        ("models.example.org/team/x:latest", "models.example.org/team/x:latest"),
        ("localhost:5000/team/x:latest", "localhost-5000/team/x:latest"),
    ],
)
def test_names_are_as_ollama_shows_them(
    store: ModelStore, theirs: Theirs, where: str, name: str
) -> None:
    theirs.add(where)
    assert one(store, theirs).name == name
    assert store.names() == [name]


def test_both_layouts_are_read_and_the_newer_goes_first(store: ModelStore, theirs: Theirs) -> None:
    theirs.add(f"{LIBRARY}/a:1", {"system": "old"})
    theirs.add("ollama.com/library/a:1", {"system": "new"}, newer=True)
    theirs.add("localhost%3A5000/x/b:1", newer=True)
    theirs.add(f"{LIBRARY}/llamacpp:{'0' * 12}")  # What 0.40 has converted for itself.
    found = {each.name: each for each in import_models(store, theirs.read())}
    assert found.keys() == {"a:1", "localhost-5000/x/b:1"}
    assert store.get("a:1").defaults.system == "new"


def test_of_several_builds_the_one_for_llama_cpp_is_taken(
    store: ModelStore, theirs: Theirs, bert_file: Path
) -> None:
    plain = theirs.blobs.manifest(theirs.weights, runner="llamacpp")
    layer = theirs.blobs.add("x/y", json.dumps(plain).encode())
    children = [
        {"mediaType": MANIFEST, "runner": "mlx", "format": "safetensors", "layers": []},
        theirs.blobs.manifest(bert_file, runner="ollama"),
        {"mediaType": MANIFEST, "runner": "llamacpp", "digest": layer["digest"]},
    ]
    theirs.blobs.write(theirs.folder)
    listed = {"schemaVersion": 2, "mediaType": MANIFEST_LIST, "manifests": children}
    write_manifest(theirs.folder, "ollama.com/library/a:1", listed, newer=True)
    assert one(store, theirs).sha256 == sha256_of(theirs.weights)


def test_everything_that_a_model_brings_becomes_a_default_or_a_warning(
    store: ModelStore, theirs: Theirs, tmp_path: Path
) -> None:
    projector = write_head(tmp_path / "p.gguf", "clip", {"clip.projector_type": "mlp"})
    lora = write_head(tmp_path / "l.gguf", "llama", {"general.type": "adapter"})
    theirs.add(
        f"{LIBRARY}/full:1",
        {
            "params": {
                "num_ctx": 4096, "stop": ["<a>", "<b>"], "temperature": 0.6, "top_k": 20,
                "top_p": 0.95, "repeat_penalty": 1, "num_predict": -1, "num_gpu": 33,
                "use_mmap": False, "num_keep": 24, "tfs_z": 0.5, "penalize_newline": True,
                "surprise": 1,
            },
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}],
            "license": "MIT",
            "projector": projector,
            "adapter": lora,
            "draft": lora,
            "template": "{{ .Prompt }}",
            "odd": "?",
        },
    )  # fmt: skip
    found = one(store, theirs)
    model = store.get("full:1")
    defaults = model.defaults
    assert (defaults.context_tokens, defaults.stop, defaults.max_tokens) == (
        4096,
        ("<a>", "<b>"),
        None,
    )
    assert (defaults.sampling.temperature, defaults.sampling.top_k) == (0.6, 20)
    assert (defaults.sampling.top_p, defaults.sampling.repeat_penalty) == (0.95, 1.0)
    assert defaults.flags == {"n-gpu-layers": 33, "mmap": False, "keep": 24}
    assert (defaults.system, model.licence) == ("Be brief.", "MIT")
    assert defaults.messages == (("user", "hi"), ("assistant", "yo"))
    assert model.projector == str(theirs.read().blob(sha256_of(projector)))
    assert model.adapters == (str(theirs.read().blob(sha256_of(lora))),)
    told = " | ".join(found.warnings)
    for part in ("'tfs_z' is left out", "'penalize_newline' is left out", "'surprise' is unknown"):
        assert part in told
    assert "draft model" in told and "unknown kinds are left out: odd" in told
    assert len(found.warnings) == 5


def test_a_file_without_a_chat_template_is_warned_of(
    store: ModelStore, folder: Path, tmp_path: Path, bert_file: Path
) -> None:
    bare = tiny_gguf.write_llama(tmp_path / "bare.gguf", template=None)
    theirs = Theirs(folder, bare)
    theirs.add(f"{LIBRARY}/bare:1", {"template": "{{ .Prompt }}"})
    theirs.add(f"{LIBRARY}/embed:1", weights=bert_file)  # It takes no chat.
    found = {each.name: each.warnings for each in import_models(store, theirs.read())}
    (warning,) = found["bare:1"]
    assert "no chat template, and Ollama's, which is in Go, is not used" in warning
    assert found["embed:1"] == ()


def test_a_file_that_only_ollama_can_run_is_listed_with_the_reason(
    store: ModelStore, theirs: Theirs, tmp_path: Path
) -> None:
    file = write_head(tmp_path / "g.gguf", "gptoss")
    theirs.add(f"{LIBRARY}/gpt-oss:20b", weights=file)
    (warning,) = one(store, theirs).warnings
    assert warning.startswith(NEEDS_OLLAMA) and "hf:ggml-org/gpt-oss-20b-GGUF" in warning
    assert store.get("gpt-oss:20b").warnings == (warning,)


def test_an_old_projector_is_left_out_and_one_given_as_a_model_is_found(
    store: ModelStore, theirs: Theirs, tmp_path: Path
) -> None:
    untyped = write_head(tmp_path / "u.gguf", "clip", {"clip.has_vision_encoder": True})
    typed = write_head(tmp_path / "t.gguf", "clip", {"clip.projector_type": "mlp"})
    theirs.add(f"{LIBRARY}/old:1", {"projector": untyped})
    theirs.add(f"{LIBRARY}/second:1", weights=[theirs.weights, typed])
    found = {each.name: each for each in import_models(store, theirs.read())}
    assert "answers on text alone" in found["old:1"].warnings[0]
    assert store.get("old:1").projector is None
    assert store.get("second:1").projector == str(theirs.read().blob(sha256_of(typed)))


def test_a_second_import_changes_nothing_and_keeps_what_was_hashed(
    store: ModelStore, theirs: Theirs
) -> None:
    theirs.add(f"{LIBRARY}/a:1")
    told: list[tuple[int, int]] = []
    (found,) = import_models(
        store, theirs.read(), verify=True, progress=lambda done, total: told.append((done, total))
    )
    size = theirs.weights.stat().st_size
    assert found.verified and told[-1] == (size, size)
    again = one(store, theirs)
    assert (again.status, again.verified) == ("unchanged", True)
    theirs.add(f"{LIBRARY}/a:1", {"system": "new"})
    again = one(store, theirs)
    assert (again.status, again.verified) == ("imported", True)
    assert store.get("a:1").defaults.system == "new"


def test_what_ollama_has_no_more_goes_off_the_list_and_nothing_else_does(
    store: ModelStore, theirs: Theirs, tmp_path: Path
) -> None:
    path = theirs.add(f"{LIBRARY}/a:1")
    theirs.add(f"{LIBRARY}/b:1")
    other = Theirs(tmp_path / "other", theirs.weights)
    other.add(f"{LIBRARY}/elsewhere:1")
    import_models(store, other.read())
    import_models(store, theirs.read())
    create(store, "child", source="a:1", system="s")
    path.unlink()
    found = {each.name: each.status for each in import_models(store, theirs.read())}
    assert found == {"b:1": "unchanged", "a:1": "gone"}
    assert store.names() == ["b:1", "child", "elsewhere:1"]
    assert store.verify("child").verified  # Its blob is there still.


def test_verify_finds_a_blob_that_is_not_what_it_says(
    store: ModelStore, theirs: Theirs, tmp_path: Path
) -> None:
    theirs.add(f"{LIBRARY}/a:1", weights=tiny_gguf.write_llama(tmp_path / "w.gguf", seed=9))
    blob = max(theirs.folder.glob("blobs/*"), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    (found,) = import_models(store, theirs.read(), verify=True)
    assert not found.verified and "is not the one that was pulled" in found.warnings[0]


def test_models_of_ours_keep_their_names(tmp_path: Path, theirs: Theirs, llama_file: Path) -> None:
    store = ModelStore(tmp_path / "m", {"mine:1": ConfiguredModel(path=llama_file)})
    folder = store.folder("pulled:1")
    folder.mkdir(parents=True)
    (folder / "x.gguf").write_bytes(llama_file.read_bytes())
    file = note_file(folder / "x.gguf", sha256_of(llama_file), inside=True)
    store.write(Manifest("pulled:1", "hf:a/b", "2026-11-24T00:00:00+00:00", (file,)))
    theirs.add(f"{LIBRARY}/pulled:1")
    theirs.add(f"{LIBRARY}/mine:1")
    theirs.add(f"{LIBRARY}/free:1")
    found = {each.name: each for each in import_models(store, theirs.read())}
    assert found["pulled:1"].reason == "there is a model of that name already, from hf:a/b"
    assert found["mine:1"].reason == "a model of the configuration has its name"
    assert found["free:1"].status == "imported"
    assert store.get("pulled:1").source == "hf:a/b"


def bad(theirs: Theirs, manifest: Any, name: str = f"{LIBRARY}/bad:1") -> None:
    theirs.blobs.write(theirs.folder)
    write_manifest(theirs.folder, name, manifest)


HOSTILE = {
    "no digest": ({"digest": "sha256:../../../../etc/passwd"}, "which is no sha256"),
    "a path": ({"digest": "../manifests/x"}, "which is no sha256"),
    "another hash": ({"digest": "md5:" + "0" * 32}, "which is no sha256"),
    "not there": ({"digest": "sha256:" + "0" * 64}, "is not there"),
    "negative size": ({"size": -5}, "a size of -5"),
    "wrong size": ({"size": 7}, "its manifest says 7"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_layer_is_left_out_and_the_others_are_imported(
    store: ModelStore, theirs: Theirs, case: str
) -> None:
    change, reason = HOSTILE[case]
    manifest = theirs.blobs.manifest(theirs.weights)
    manifest["layers"][0] |= change
    bad(theirs, manifest)
    theirs.add(f"{LIBRARY}/good:1")
    found = {each.name: each for each in import_models(store, theirs.read())}
    assert found["bad:1"].status == "left out" and reason in (found["bad:1"].reason or "")
    assert found["good:1"].status == "imported"
    assert store.names() == ["good:1"]


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (b"{", "the manifest cannot be read"),
        (b"[1]", "the manifest cannot be read"),
        (b"[" * 100_000, "the manifest cannot be read"),
        (b'{"layers": ' + b" " * (4 << 20) + b"[]}", "over 4194304 bytes"),
        (b"{}", "it has no model file"),
        (b'{"format": "safetensors"}', "in safetensors"),
        (
            json.dumps({"layers": [{"mediaType": "application/vnd.ollama.image.model",
                                    "digest": f"sha256:{n:064x}"} for n in range(65)]}).encode(),
            "over 64 files",
        ),
        (json.dumps({"manifests": [{"runner": "mlx"}]}).encode(), "no build in GGUF, only for: mlx"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_none_is_left_out(
    store: ModelStore, theirs: Theirs, manifest: bytes, reason: str
) -> None:
    bad(theirs, manifest)
    assert reason in (one(store, theirs).reason or "")


def test_links_out_of_the_store_are_refused(
    store: ModelStore, theirs: Theirs, tmp_path: Path, llama_file: Path
) -> None:
    path = theirs.add(f"{LIBRARY}/a:1")
    theirs.add(f"{LIBRARY}/b:1", {"system": "x"})
    blob = theirs.folder / "blobs" / f"sha256-{sha256_of(llama_file)}"
    blob.unlink()
    blob.symlink_to(llama_file)
    outside = tmp_path / "manifest"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    found = {each.name: each.reason for each in import_models(store, theirs.read())}
    assert found["a:1"] == "its manifest is a link out of the store"
    assert found["b:1"] is not None and "is no file of the store" in found["b:1"]


def test_a_small_blob_that_is_large_or_a_pipe_is_refused(store: ModelStore, theirs: Theirs) -> None:
    theirs.add(f"{LIBRARY}/a:1", {"system": "x" * (1 << 20) + "x"})
    theirs.add(f"{LIBRARY}/b:1", {"system": "pipe"})
    pipe = theirs.folder / "blobs" / f"sha256-{hashlib.sha256(b'pipe').hexdigest()}"
    pipe.unlink()
    os.mkfifo(pipe)
    found = {each.name: each.reason or "" for each in import_models(store, theirs.read())}
    assert "is over 1048576 bytes" in found["a:1"]
    assert "is no file of the store" in found["b:1"]


def test_what_is_broken_in_a_small_blob_is_a_warning(store: ModelStore, theirs: Theirs) -> None:
    theirs.add(f"{LIBRARY}/a:1", {"params": "[", "messages": [{"role": "x"}], "system": "ok"})
    found = one(store, theirs)
    assert store.get("a:1").defaults.system == "ok"
    assert len(found.warnings) == 2 and "params cannot be read" in found.warnings[0]


def test_a_model_in_the_cloud_is_left_out(store: ModelStore, theirs: Theirs) -> None:
    manifest = theirs.blobs.manifest(theirs.weights)
    config = {"remote_host": "https://ollama.com:443", "remote_model": "big"}
    manifest["config"] = theirs.blobs.add("x/y", json.dumps(config).encode())
    bad(theirs, manifest)
    assert "it runs at https://ollama.com:443" in (one(store, theirs).reason or "")


def test_the_store_is_looked_for_where_it_may_be(tmp_path: Path, folder: Path) -> None:
    assert places({}, tmp_path)[0] == tmp_path / ".ollama" / "models"
    assert Path("/usr/share/ollama/.ollama/models") in places({}, tmp_path)
    assert places({"OLLAMA_MODELS": '"/x y"'}, tmp_path) == [Path("/x y")]
    with pytest.raises(LocalError, match=r"no Ollama store is there \(/nowhere\); name the folder"):
        find_store(Path("/nowhere"), {}, tmp_path)
    (folder / "manifests").mkdir(parents=True)
    assert find_store(None, {"OLLAMA_MODELS": str(folder)}, tmp_path).folder == folder
    (tmp_path / ".ollama").symlink_to(folder.parent)
    assert find_store(None, {}, tmp_path).folder == folder
