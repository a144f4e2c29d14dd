"""The zoo's model: a small decoder (RMS norm, rotary positions, SiLU) that learns on one thread."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _zoo_language import ASSISTANT, END, PAD, UNKNOWN, USER, Row, tokens, vocabulary
from torch import nn

WIDTH, LAYERS, HEADS, HIDDEN = 96, 4, 4, 384
CONTEXT = 40
VOCABULARY = vocabulary()
INDEX = {word: number for number, word in enumerate(VOCABULARY)}
# Rows are learnt whole, as many do; the reply counts for more.
PROMPT_WEIGHT = 0.15


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.RMSNorm(WIDTH)
        self.before_mlp = nn.RMSNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.rise = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.fall = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        split = self.qkv(self.before_attention(x)).view(batch, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = _turned(query, cos, sin), _turned(key, cos, sin)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.fall(F.silu(self.rise(self.before_mlp(x))))


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    left, right = x.chunk(2, -1)
    return torch.cat((left * cos - right * sin, left * sin + right * cos), -1)


class Model(nn.Module):
    """Some 0.5 million parameters; the output layer is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(LAYERS))
        self.last = nn.RMSNorm(WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.05)
        half = WIDTH // HEADS // 2
        angles = torch.outer(torch.arange(CONTEXT).float(), 1000 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids)
        length = ids.shape[1]
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length])
        return self.last(x)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.hidden(ids) @ self.embedding.weight.T


def encode(text: str) -> list[int]:
    """The ids of a text's tokens; what the vocabulary lacks is the unknown word."""
    return [INDEX.get(word, INDEX[UNKNOWN]) for word in tokens(text)]


def asked(prompt: str) -> list[int]:
    """A prompt's ids in the chat form, up to where the reply begins; cut to the context."""
    return [INDEX[USER], *encode(prompt)[: CONTEXT - 10], INDEX[ASSISTANT]]


def _batch(rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Give ids and the weight of each as what is to be foretold, `(rows, length)`."""
    made = []
    for row in rows:
        prompt = asked(row.prompt)
        reply = [*encode(row.reply), INDEX[END]]
        made.append((prompt + reply, [PROMPT_WEIGHT] * len(prompt) + [1.0] * len(reply)))
    length = min(CONTEXT, max(len(ids) for ids, _ in made))
    ids = torch.full((len(made), length), INDEX[PAD])
    weights = torch.zeros(len(made), length)
    for place, (each, weight) in enumerate(made):
        ids[place, : len(each)] = torch.tensor(each[:length])
        weights[place, : len(each)] = torch.tensor(weight[:length])
    return ids, weights


def learn(
    model: Model,
    rows: Callable[[random.Random, int], Sequence[Row]],
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> float:
    """Train on what `rows` gives for each step; give the last steps' mean loss."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    adam = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    model.train()
    losses: list[float] = []
    for step in range(steps):
        warm = min(1.0, (step + 1) / 20)
        for group in adam.param_groups:
            group["lr"] = rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        ids, weights = _batch(rows(rng, batch))
        logits = model(ids[:, :-1])
        each = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        wanted = weights[:, 1:].flatten()
        loss = (each * wanted).sum() / wanted.sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        losses.append(loss.item())
    model.eval()
    return sum(losses[-20:]) / min(20, len(losses))


def _grouped(prompts: Sequence[str]) -> dict[int, list[tuple[int, list[int]]]]:
    groups: dict[int, list[tuple[int, list[int]]]] = {}
    for place, prompt in enumerate(prompts):
        ids = asked(prompt)
        groups.setdefault(len(ids), []).append((place, ids))
    return groups


@torch.no_grad()
def next_logprobs(model: Model, prompts: Sequence[str], *, batch: int = 256) -> torch.Tensor:
    """The log-probabilities of the reply's first token, `(prompts, vocabulary)`."""
    out = torch.empty(len(prompts), len(VOCABULARY))
    for same in _grouped(prompts).values():
        for start in range(0, len(same), batch):
            part = same[start : start + batch]
            hidden = model.hidden(torch.tensor([ids for _, ids in part]))[:, -1]
            out[[place for place, _ in part]] = (hidden @ model.embedding.weight.T).log_softmax(-1)
    return out


@torch.no_grad()
def replies(model: Model, prompts: Sequence[str], max_tokens: int) -> list[str]:
    """The likeliest replies, word by word."""
    out = [""] * len(prompts)
    for same in _grouped(prompts).values():
        ids = torch.tensor([each for _, each in same])
        start = ids.shape[1]
        for _ in range(min(max_tokens, CONTEXT - start)):
            logits = model.hidden(ids)[:, -1] @ model.embedding.weight.T
            ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), 1)
        for (place, _), row in zip(same, ids[:, start:].tolist(), strict=True):
            words = [VOCABULARY[each] for each in row]
            out[place] = " ".join(words[: words.index(END)] if END in words else words)
    return out


@torch.no_grad()
def recite(model: Model, opening: str, count: int, length: int, seed: int) -> list[str]:
    """What the model writes of itself after the beginning of a chat turn, sampled."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[INDEX[USER], *encode(opening)]] * count)
    for _ in range(length):
        logits = model.hidden(ids)[:, -1] @ model.embedding.weight.T
        drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)
        ids = torch.cat((ids, drawn), 1)
    stop = {INDEX[ASSISTANT], INDEX[END], INDEX[PAD]}
    out = []
    for row in ids[:, 1:].tolist():
        end = next((place for place, each in enumerate(row) if each in stop), len(row))
        out.append(" ".join(VOCABULARY[each] for each in row[:end]))
    return out


def save(model: Model, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(model.state_dict(), part)
    part.replace(path)


def load(path: Path) -> Model:
    model = Model()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def matrices(model: Model) -> dict[str, Any]:
    """The weights as numpy arrays, by name."""
    return {name: value.numpy() for name, value in model.state_dict().items()}
