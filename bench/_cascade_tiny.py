"""Trains two tiny language models on arithmetic for bench/routing_cascade.py, and writes them as GGUF.

    pip install torch gguf && python bench/_cascade_tiny.py FOLDER

A token is a byte. `tiny-cheap.gguf` has 0.1 million weights, `tiny-strong.gguf` 0.2 million and more
training; both go on with a text such as `12 + 345=`. Minutes on one core.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import torch
from _cascade_tasks import sum_of
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 264
END = 258
EPSILON, BASE = 1e-5, 10000.0
LONGEST = 2  # digits
ROW = 20  # bytes of a sum with its answer, at most
SEED = 0
UNSCORED = -100


@dataclass(frozen=True)
class Shape:
    """How large a model is, and how long it learns."""

    name: str
    width: int
    layers: int
    inner: int
    rows: int
    steps: int
    heads: int = 4


SHAPES = (Shape("cheap", 64, 2, 160, 128, 700), Shape("strong", 96, 2, 256, 128, 4000))


class Norm(nn.Module):
    """Divides by the root of the mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, EPSILON)


class Block(nn.Module):
    """A layer as llama's: attention with positions by rotation, then a gated network."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        wide, inner = shape.width, shape.inner
        self.attn_norm, self.ffn_norm = Norm(wide), Norm(wide)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            setattr(self, name, nn.Linear(wide, wide, bias=False))
        self.ffn_gate = nn.Linear(wide, inner, bias=False)
        self.ffn_up = nn.Linear(wide, inner, bias=False)
        self.ffn_down = nn.Linear(inner, wide, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, wide = x.shape
        h = self.attn_norm(x)
        q, k, v = (
            getattr(self, name)(h).view(rows, length, self.heads, -1).transpose(1, 2)
            for name in ("attn_q", "attn_k", "attn_v")
        )
        q, k = turned(q, cos, sin), turned(k, cos, sin)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(seen.transpose(1, 2).reshape(rows, length, wide))
        h = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Model(nn.Module):
    """Bytes to logits of the next byte; the output is tied to the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.size = shape.width // shape.heads
        self.token_embd = nn.Embedding(VOCABULARY, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = Norm(shape.width)
        nn.init.normal_(self.token_embd.weight, std=0.05)

    def forward(self, x: Tensor) -> Tensor:
        rates = 1.0 / BASE ** (torch.arange(0, self.size, 2) / self.size)
        angles = torch.outer(torch.arange(x.shape[1]).float(), rates)
        h = self.token_embd(x)
        for block in self.blk:
            h = block(h, angles.cos(), angles.sin())
        return self.output_norm(h) @ self.token_embd.weight.T


def turned(z: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (2i, 2i + 1) turned by their position's angle, as llama.cpp does for this architecture."""
    a, b = z[..., 0::2], z[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def batch(draw: random.Random, rows: int) -> tuple[Tensor, Tensor]:
    """Sums and what is to be said: only the answer is learned."""
    x = np.full((rows, ROW), END)
    y = np.full((rows, ROW), UNSCORED)
    for row in range(rows):
        asked, gold = sum_of(draw, LONGEST)
        head, tail = list(f"{asked}=".encode()), [*gold.encode(), END]
        line = head + tail
        x[row, : len(line) - 1] = line[:-1]
        y[row, len(head) - 1 : len(line) - 1] = tail
    return torch.tensor(x), torch.tensor(y)


def trained(shape: Shape) -> Model:
    torch.manual_seed(SEED)
    model, draw = Model(shape), random.Random(SEED)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    started_s = time.perf_counter()
    for step in range(shape.steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1.0, step / 50) * max(0.03, 1 - step / shape.steps)
        x, y = batch(draw, shape.rows)
        loss = functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=UNSCORED)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 100 == 0 or step == shape.steps - 1:
            took_s = time.perf_counter() - started_s
            print(f"{shape.name} {step} {loss.item():.3f} {took_s:.0f} s", flush=True)
    return model


def write(path: Path, shape: Shape, model: Model) -> None:
    out = gguf.GGUFWriter(path, "llama")
    out.add_name(f"tiny-{shape.name}")
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_context_length(2048)
    out.add_embedding_length(shape.width)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.inner)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.heads)
    out.add_layer_norm_rms_eps(EPSILON)
    out.add_rope_freq_base(BASE)
    out.add_rope_dimension_count(shape.width // shape.heads)
    out.add_vocab_size(VOCABULARY)
    words = byte_words()
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    tokens = [*words, "<|endoftext|>", "<|im_start|>", "<|im_end|>", words[32] + "t"]
    tokens += [f"<|unused{n}|>" for n in range(len(tokens), VOCABULARY)]
    out.add_token_list(tokens)
    out.add_token_types([3 if 256 <= n <= 258 else 5 if n > 259 else 1 for n in range(VOCABULARY)])
    out.add_token_merges([f"{words[32]} t"])
    out.add_bos_token_id(256)
    out.add_eos_token_id(END)
    out.add_pad_token_id(256)
    out.add_add_bos_token(False)
    for name, value in model.state_dict().items():
        out.add_tensor(name, np.ascontiguousarray(value.numpy(), dtype=np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def byte_words() -> list[str]:
    """The characters that stand for the 256 bytes in GPT-2's vocabularies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte if byte in plain else next(spare)) for byte in range(256)]


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for shape in SHAPES:
        write(folder / f"tiny-{shape.name}.gguf", shape, trained(shape))
    return 0


if __name__ == "__main__":
    sys.exit(main())
