"""Small GGUF and safetensors files, made field by field, so that each field can be lied about."""

from __future__ import annotations

import json
import struct
from typing import Any

HUGE = (2**64 - 1, 2**63, 2**40)


class Gguf:
    """Writes a GGUF file and remembers where each length, count, type and offset stands."""

    def __init__(self, version: int = 3, big: bool = False) -> None:
        self.order = ">" if big else "<"
        self.wide = "I" if version == 1 else "Q"
        self.raw = bytearray(b"GGUF")
        self.fields: dict[str, tuple[int, str]] = {}
        self.put("version", "I", version)

    def put(self, name: str, form: str, value: int) -> None:
        self.fields[name] = (len(self.raw), form)
        self.raw += struct.pack(self.order + form, value)

    def text(self, name: str, text: str) -> None:
        self.put(f"{name} length", self.wide, len(text.encode()))
        self.raw += text.encode()

    def key_text(self, key: str, value: str) -> None:
        self.text(f"key {key}", key)
        self.put(f"kind of {key}", "I", 8)
        self.text(f"value of {key}", value)

    def key_number(self, key: str, value: int) -> None:
        self.text(f"key {key}", key)
        self.put(f"kind of {key}", "I", 4)
        self.put(f"value of {key}", "I", value)

    def key_texts(self, key: str, values: list[str]) -> None:
        self.text(f"key {key}", key)
        self.put(f"kind of {key}", "I", 9)
        self.put(f"inner kind of {key}", "I", 8)
        self.put(f"count of {key}", self.wide, len(values))
        for number, value in enumerate(values):
            self.text(f"{key} {number}", value)

    def key_floats(self, key: str, values: list[float]) -> None:
        self.text(f"key {key}", key)
        self.put(f"kind of {key}", "I", 9)
        self.put(f"inner kind of {key}", "I", 6)
        self.put(f"count of {key}", self.wide, len(values))
        self.raw += struct.pack(f"{self.order}{len(values)}f", *values)

    def tensor(self, name: str, shape: tuple[int, ...], kind: int, offset: int) -> None:
        self.text(f"tensor {name}", name)
        self.put(f"dimensions of {name}", "I", len(shape))
        for number, length in enumerate(shape):
            self.put(f"shape {number} of {name}", self.wide, length)
        self.put(f"type of {name}", "I", kind)
        self.put(f"offset of {name}", "Q", offset)

    def data(self, count: int) -> bytes:
        self.raw += b"\0" * (-len(self.raw) % 32)
        self.raw += bytes(range(1, 33)) * (count // 32)
        return bytes(self.raw)

    def with_field(self, name: str, value: int) -> bytes:
        at, form = self.fields[name]
        size = struct.calcsize(form)
        raw = bytearray(self.raw)
        raw[at : at + size] = struct.pack(self.order + form, value % (1 << 8 * size))
        return bytes(raw)


def small_gguf(version: int = 3, *, big: bool = False, template: str | None = None) -> Gguf:
    file = Gguf(version, big)
    file.put("tensor count", file.wide, 2)
    file.put("key count", file.wide, 6 if template is None else 7)
    file.key_text("general.architecture", "llama")
    file.key_number("llama.context_length", 128)
    file.key_number("general.alignment", 32)
    file.key_texts("tokenizer.ggml.tokens", ["a", "b", "c"])
    file.key_floats("tokenizer.ggml.scores", [0.0, 1.0, 2.0])
    file.key_number("tokenizer.ggml.bos_token_id", 1)
    if template is not None:
        file.key_text("tokenizer.chat_template", template)
    file.tensor("token_embd.weight", (8, 3), 0, 0)
    file.tensor("output.weight", (32, 2), 8, 96)
    file.data(96 + 96)
    del file.raw[
        -28:
    ]  # The last tensor ends at 68 of its 96 bytes; writers may leave the padding out.
    return file


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def row(
    dtype: str = "F32", shape: tuple[int, ...] = (2, 2), offsets: tuple[int, int] = (0, 16)
) -> Any:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SMALL_SAFETENSORS = safetensors(
    {"__metadata__": {"format": "pt"}, "a": row(), "b": row("BF16", (3,), (16, 22))},
    bytes(range(22)),
)
