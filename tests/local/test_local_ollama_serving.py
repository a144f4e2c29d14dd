"""Imported models behind the client, on llama.cpp itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from ollama_files import Blobs, write_head, write_manifest

import pointsman
from pointsman.config import parse_config
from pointsman.errors import LocalError
from pointsman.local.host import store_of
from pointsman.local.ollama.importing import import_models
from pointsman.local.ollama.store import OllamaStore


def test_an_imported_model_answers_in_place_and_another_says_why_not(
    tmp_path: Path, llama_file: Path
) -> None:
    blobs = Blobs()
    folder = tmp_path / "ollama"
    texts = {"params": {"num_ctx": 512, "use_mmap": False, "num_keep": 4}, "system": "Be brief."}
    write_manifest(folder, "registry.ollama.ai/library/tiny:1m", blobs.manifest(llama_file, texts))
    oss = blobs.manifest(write_head(tmp_path / "g.gguf", "gptoss"))
    write_manifest(folder, "registry.ollama.ai/library/gpt-oss:20b", oss)
    blobs.write(folder)
    config = parse_config("[local]\nspare = false\nslots = 1\n")
    config.home = str(tmp_path / "home")
    store = store_of(config)
    import_models(store, OllamaStore(folder))
    assert not store.get("tiny:1m").verified
    with pointsman.Client(config) as client:
        answer = client.chat("local:tiny:1m", "hello", max_tokens=4)
        assert answer.usage is not None and answer.usage.output_tokens == 4
        with pytest.raises(LocalError, match="needs Ollama's own engine: its architecture"):
            client.chat("local:gpt-oss:20b", "hello", max_tokens=4)
    # It was hashed before it was run.
    assert store.get("tiny:1m").verified
    assert {path.name for path in store.directory.rglob("*.gguf")} == set()
