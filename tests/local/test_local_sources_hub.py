"""The Hub: its own client, against a server that speaks its API."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from fake_hub import REPO, Hub, hub_server
from huggingface_hub import constants

from pointsman.errors import LocalError, MissingExtra
from pointsman.local import download as download_module
from pointsman.local.progress import Step
from pointsman.local.pull import pull
from pointsman.local.sources.quants import choose, label_of, parts_of, projector_for
from pointsman.local.store import ModelStore

REF = f"hf:{REPO}"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(download_module, "BACK_OFF_S", 0.001)


@pytest.fixture
def hub(llama_file: Path) -> Iterator[Hub]:
    with hub_server() as hub:
        for quant in ("Q8_0", "Q4_K_M", "F16"):
            # The same model each time, told apart by what follows its last tensor.
            hub.put(f"tiny-{quant}.gguf", llama_file.read_bytes() + quant.encode())
        hub.put("README.md", b"# tiny", small=True)
        hub.put("tiny.imatrix.gguf", b"no model")
        yield hub


@pytest.fixture
def env(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_model_lies_in_the_cache_as_its_own_client_would_have_it(
    hub: Hub, env: dict[str, str], store: ModelStore, tmp_path: Path
) -> None:
    seen: list[Step] = []
    model = pull(REF, store, seen.append, env=env)
    data = hub.data["tiny-Q4_K_M.gguf"]
    cache = tmp_path / "hf" / "hub"
    folder = cache / "models--user--tiny-GGUF"
    pointer = folder / "snapshots" / hub.commit / "tiny-Q4_K_M.gguf"
    assert model.name == f"{REPO}:Q4_K_M" and model.source == f"hf:{REPO}:Q4_K_M"
    assert model.path == str(pointer) and pointer.read_bytes() == data
    assert model.sha256 == digest_of(data) and model.verified and model.licence == "mit"
    assert pointer.is_symlink() and pointer.resolve() == folder / "blobs" / digest_of(data)
    assert (folder / "refs" / "main").read_text("utf-8") == hub.commit
    assert sorted(each.name for each in (folder / "blobs").iterdir()) == [digest_of(data)]
    found = huggingface_hub.try_to_load_from_cache(REPO, "tiny-Q4_K_M.gguf", cache_dir=cache)
    assert found == str(pointer)
    (repo,) = huggingface_hub.scan_cache_dir(cache).repos
    assert repo.size_on_disk == len(data)
    assert not huggingface_hub.scan_cache_dir(cache).warnings
    # And again, with nothing to fetch for either.
    sent = hub.sent()
    assert pull(REF, store, seen.append, env=env) == model
    again = huggingface_hub.hf_hub_download(
        REPO, "tiny-Q4_K_M.gguf", endpoint=hub.url, cache_dir=cache, token=False
    )
    assert again == str(pointer) and hub.sent() == sent
    last = Step("downloading", "tiny-Q4_K_M.gguf", digest_of(data), len(data), len(data))
    assert last in seen


def test_what_another_program_has_put_into_the_cache_is_hashed_and_not_fetched(
    hub: Hub, env: dict[str, str], store: ModelStore, tmp_path: Path
) -> None:
    cache = tmp_path / "hf" / "hub"
    theirs = huggingface_hub.hf_hub_download(
        REPO, "tiny-Q4_K_M.gguf", endpoint=hub.url, cache_dir=cache, token=False
    )
    sent = hub.sent()
    seen: list[Step] = []
    assert pull(REF, store, seen.append, env=env).path == theirs
    assert hub.sent() == sent and "verifying" in {step.status for step in seen}
    # Damage there is found, however it came about.
    store.remove(f"{REPO}:Q4_K_M")
    blob = Path(theirs).resolve()
    blob.write_bytes(blob.read_bytes()[::-1])
    with pytest.raises(LocalError, match=r"expected .*damaged in the cache; delete .*blobs"):
        pull(REF, store, env=env)


def test_a_removed_model_stays_in_the_cache(
    hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    path = pull(REF, store, env=env).path
    assert store.remove(f"{REPO}:Q4_K_M").kept == (path,)
    assert Path(path).exists()


@pytest.mark.parametrize("form", ["hf:{}:{}", "hf.co/{}:{}", "huggingface.co/{}:{}"])
def test_the_forms_that_people_type(
    form: str, hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    model = pull(form.format(REPO, "q8_0"), store, env=env)
    assert model.name == f"{REPO}:Q8_0" and model.path.endswith("tiny-Q8_0.gguf")
    assert pull(form.format(REPO, "latest"), store, env=env).name == f"{REPO}:Q4_K_M"


def test_model_endpoint_goes_before_hf_endpoint(
    hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    both = {**env, "MODEL_ENDPOINT": f"{hub.url}/", "HF_ENDPOINT": "http://127.0.0.1:1"}
    assert pull(REF, store, env=both).verified


def test_a_quantization_that_is_not_there(hub: Hub, env: dict[str, str], store: ModelStore) -> None:
    with pytest.raises(LocalError, match="has no 'Q2_K'; it has F16, Q4_K_M, Q8_0"):
        pull(f"{REF}:Q2_K", store, env=env)
    hub.data = {"model.safetensors": b"x"}
    with pytest.raises(LocalError, match="holds no GGUF file; look for a repository"):
        pull(REF, store, env=env)


def test_the_parts_of_a_split_model_and_its_projector_come_along(
    hub: Hub, env: dict[str, str], store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    hub.data.clear()
    for number in (1, 2, 3):
        data = llama_file.read_bytes() + bytes([number])
        hub.put(f"Q5_K_M/big-Q5_K_M-0000{number}-of-00003.gguf", data)
    hub.put("mmproj-F16.gguf", llama_file.read_bytes() + b"projector")
    model = pull(REF, store, env=env)
    manifest = store.manifest(f"{REPO}:Q5_K_M")
    names = [Path(each.path).name for each in manifest.files]
    assert names == [f"big-Q5_K_M-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert len({Path(each.path).parent for each in manifest.files}) == 1, "where llama.cpp looks"
    assert model.projector is not None and model.projector.endswith("mmproj-F16.gguf")
    assert model.bytes == sum(len(data) for data in hub.data.values())
    assert pull(REF, store, env=env, verify=True) == model
    del hub.data["Q5_K_M/big-Q5_K_M-00002-of-00003.gguf"]
    with pytest.raises(LocalError, match=r"lacks Q5_K_M/big-Q5_K_M-00002-of-00003.gguf"):
        pull(REF, store, env=env)


def test_a_new_commit_with_another_file_is_fetched(
    hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    old = pull(REF, store, env=env)
    hub.commit = "c" * 40
    sent = hub.sent()
    assert pull(REF, store, env=env) == old and hub.sent() == sent, "the same file at a new commit"
    hub.put("tiny-Q4_K_M.gguf", hub.data["tiny-Q8_0.gguf"] + b"new")
    new = pull(REF, store, env=env)
    assert new.sha256 == digest_of(hub.data["tiny-Q4_K_M.gguf"]) and new.path != old.path


def test_a_small_file_that_git_itself_keeps(
    hub: Hub, env: dict[str, str], store: ModelStore, llama_file: Path
) -> None:
    hub.data.clear()
    hub.put("tiny.gguf", llama_file.read_bytes(), small=True)
    model = pull(REF, store, env=env)
    assert model.name == REPO and model.sha256 == digest_of(llama_file.read_bytes())
    assert len(Path(model.path).resolve().name) == 40


def test_a_gated_repository_says_what_to_do(
    hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    hub.gate, hub.token = (403, {"X-Error-Code": "GatedRepo"}), "hf_right"
    with pytest.raises(LocalError) as caught:
        pull(REF, store, env={**env, "HF_TOKEN": "hf_wrong"})
    assert f"accept its terms on https://huggingface.co/{REPO}" in caught.value.message
    assert "hf_wrong" not in caught.value.message
    assert pull(REF, store, env={**env, "HF_TOKEN": "hf_right"}).verified
    assert not any("Authorization" in each.headers for each in hub.files.asked), "another host"


def test_without_a_token_a_private_repository_is_not_shown(
    hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    hub.gate = (401, {})
    with pytest.raises(LocalError, match="set HF_TOKEN"):
        pull(REF, store, env=env)
    hub.listed = (401, {"X-Error-Code": "RepoNotFound"})
    with pytest.raises(LocalError, match=f"the Hub has no {REPO}, or does not show it to you"):
        pull(REF, store, env=env)
    hub.listed = (403, {"X-Error-Code": "GatedRepo"})
    with pytest.raises(LocalError, match="is gated: accept its terms"):
        pull(REF, store, env=env)
    hub.listed = (500, {})
    with pytest.raises(LocalError, match="the Hub answered 500"):
        pull(REF, store, env=env)
    assert store.names() == []


def test_a_token_file_is_used(
    hub: Hub, env: dict[str, str], store: ModelStore, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hf_from_file", "utf-8")
    pull(REF, store, env=env)
    assert {key for _, _, key in hub.asked} == {"Bearer hf_from_file"}


def test_a_hub_that_is_not_there(store: ModelStore, env: dict[str, str]) -> None:
    with pytest.raises(LocalError, match=r"could not be asked about .*HF_ENDPOINT"):
        pull(REF, store, env={**env, "HF_ENDPOINT": "http://127.0.0.1:1"})


def test_without_the_extra_the_install_line_is_named(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"pip install 'pointsman\[hub\]'"):
        pull(REF, store)


def test_a_file_that_is_not_what_the_hub_says_is_not_kept(
    hub: Hub, env: dict[str, str], store: ModelStore, tmp_path: Path
) -> None:
    hub.lies["tiny-Q4_K_M.gguf"] = "0" * 64
    with pytest.raises(LocalError, match="expected 0000"):
        pull(REF, store, env=env)
    assert store.names() == [] and not [p for p in tmp_path.rglob("0000*") if p.suffix != ".lock"]


def test_no_space_is_said_before_anything_is_fetched(
    hub: Hub, env: dict[str, str], store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(LocalError, match=rf"has 1 MiB free; {REPO} needs 66 MiB"):
        pull(REF, store, env=env)
    assert hub.sent() == 0


@pytest.mark.parametrize("path", ["../../evil.gguf", "/abs.gguf", "a/./b.gguf", "a\\b.gguf"])
def test_paths_that_lead_out_of_the_cache_are_passed_over(
    path: str, hub: Hub, env: dict[str, str], store: ModelStore
) -> None:
    hub.data = {path: b"x"}
    with pytest.raises(LocalError, match="holds no GGUF file"):
        pull(REF, store, env=env)


def test_two_pulls_at_once_fetch_once(hub: Hub, env: dict[str, str], store: ModelStore) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(pull(REF, store, env=env).path))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and len(set(found)) == 1
    assert hub.sent() <= len(hub.data["tiny-Q4_K_M.gguf"]) + 1


def test_a_pull_that_was_cut_short_goes_on_in_the_cache(
    hub: Hub, env: dict[str, str], store: ModelStore, llama_file: Path, tmp_path: Path
) -> None:
    data = llama_file.read_bytes() + os.urandom(12 * 2**20)
    hub.put("tiny-Q4_K_M.gguf", data)
    stop = threading.Event()

    def progress(step: Step) -> None:
        if step.done_bytes > 3 * 2**20:
            stop.set()

    hub.files.pause_s = 0.002
    with pytest.raises(LocalError, match="cancelled"):
        pull(REF, store, progress, env=env, cancelled=stop)
    assert store.names() == []
    hub.files.pause_s = 0.0
    hub.files.asked.clear()
    assert pull(REF, store, env=env).sha256 == digest_of(data)
    assert hub.sent() < len(data) - 2 * 2**20
    blobs = tmp_path / "hf" / "hub" / "models--user--tiny-GGUF" / "blobs"
    assert [each.name for each in blobs.iterdir()] == [digest_of(data)]


def test_the_manifest_holds_no_token(hub: Hub, env: dict[str, str], store: ModelStore) -> None:
    pull(REF, store, env={**env, "HF_TOKEN": "hf_secret"})
    manifest = next(store.directory.rglob("manifest.json")).read_text("utf-8")
    assert "hf_secret" not in manifest
    assert json.loads(manifest)["source"] == f"hf:{REPO}:Q4_K_M"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("a-Q4_K_M.gguf", "Q4_K_M"),
        ("a.q8_0.gguf", "Q8_0"),
        ("UD/a-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("a-IQ3_XXS.gguf", "IQ3_XXS"),
        ("a-bf16.gguf", "BF16"),
        ("a-MXFP4.gguf", "MXFP4"),
        ("a-7B.gguf", None),
        ("model.gguf", None),
    ],
)
def test_labels(path: str, label: str | None) -> None:
    assert label_of(path) == label


def test_which_file_is_meant() -> None:
    names = ["a-IQ4_NL.gguf", "a-Q4_K_S.gguf", "a-UD-Q4_K_XL.gguf", "mtp-a-Q4_K_M.gguf"]
    assert choose("r", names, None) == "a-IQ4_NL.gguf", "the first, where no default is there"
    assert choose("r", [*names, "a-Q8_0.gguf"], None) == "a-Q8_0.gguf"
    assert choose("r", names, "Q4_K_XL") == "a-UD-Q4_K_XL.gguf"
    assert choose("r", names, "A-q4_k_s.GGUF") == "a-Q4_K_S.gguf"
    both = ["a-UD-Q4_K_M.gguf", "b-Q4_K_M.gguf"]
    assert choose("r", both, None) == "b-Q4_K_M.gguf", "the plain one before the special"
    parts = ["a-Q4_K_M-00002-of-00002.gguf", "a-Q4_K_M-00001-of-00002.gguf"]
    assert choose("r", parts, None) == parts[1]
    assert parts_of(parts[1], parts) == parts[::-1]
    with pytest.raises(LocalError, match="has no 'Q4_K'; it has IQ4_NL, Q4_K_S, UD-Q4_K_XL"):
        choose("r", names, "Q4_K")


def test_which_projector_goes_with_a_model() -> None:
    names = ["mmproj-BF16.gguf", "mmproj-F32.gguf", "mmproj-Q8_0.gguf", "b/mmproj-F32.gguf"]
    assert projector_for("a-Q8_0.gguf", names) == "mmproj-Q8_0.gguf"
    assert projector_for("b/a-Q8_0.gguf", names) == "b/mmproj-F32.gguf"
    assert projector_for("a-Q8_0.gguf", ["b/mmproj-F32.gguf"]) is None
