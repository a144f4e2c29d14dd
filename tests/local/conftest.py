"""Model files, made once for a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_gguf


@pytest.fixture(scope="session")
def llama_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write_llama(tmp_path_factory.mktemp("gguf") / "tiny-llama.gguf")


@pytest.fixture(scope="session")
def bert_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.write_bert(tmp_path_factory.mktemp("gguf") / "tiny-bert.gguf")
