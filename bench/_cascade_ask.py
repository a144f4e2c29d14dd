"""Asks local models for bench/routing_cascade.py, through Pointsman's own client and engine.

What each answered goes into a file, a JSON object a line; what is there already is not asked again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _cascade_tasks import Prompt, right

from pointsman import AsyncClient
from pointsman.client import Answer
from pointsman.config import Config, LocalConfig, LocalModelConfig

MAX_TOKENS = 8
CONTEXT = 2048
WARM = 0.7
# A base model knows no chat: it goes on with the text as it stands.
BARE = "{%- for m in messages %}{{- m.content }}{%- endfor %}"


@dataclass(frozen=True)
class Model:
    """A model file, and how many more answers of it are drawn at a temperature."""

    name: str
    path: Path
    samples: int = 0


def config_of(models: Sequence[Model], home: Path) -> Config:
    rows = {
        model.name: LocalModelConfig(
            path=str(model.path),
            slots=1,
            context=CONTEXT,
            # Without the whole window a model with a sliding one reads each prompt's examples anew.
            flags={"chat-template": BARE, "jinja": True, "swa-full": True},
        )
        for model in models
    }
    return Config(local=LocalConfig(models=rows, threads=1, spare=False), home=str(home))


def asked(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What was answered so far, by model, task and number."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {(row["model"], row["task"], row["number"]): row for row in rows}


async def ask_all(
    models: Sequence[Model], prompts: Sequence[Prompt], path: Path, home: Path
) -> None:
    """Ask each model each prompt: once at temperature 0, then the samples at 0.7."""
    done = asked(path)
    client = AsyncClient(config_of(models, home))
    try:
        with path.open("a", encoding="utf-8") as file:
            for model in models:
                for prompt in prompts:
                    if (model.name, prompt.task, prompt.number) in done:
                        continue
                    row = await _ask(client, model, prompt)
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    file.flush()
    finally:
        await client.aclose()


async def _ask(client: AsyncClient, model: Model, prompt: Prompt) -> dict[str, Any]:
    started_s = time.perf_counter()
    answer = await _one(client, model.name, prompt, 0.0, 0)
    took_s = time.perf_counter() - started_s
    drawn = [
        (await _one(client, model.name, prompt, WARM, 1 + n)).text for n in range(model.samples)
    ]
    usage, choice = answer.usage, answer.completion.choices[0]
    return {
        "model": model.name,
        "task": prompt.task,
        "number": prompt.number,
        "answer": answer.text,
        "right": right(prompt, answer.text),
        "logprobs": [round(each.logprob, 4) for each in choice.logprobs or ()],
        "samples": drawn,
        "finish": choice.finish_reason,
        "tokens": [usage.input_tokens, usage.output_tokens] if usage else None,
        "seconds": round(took_s, 4),
    }


async def _one(
    client: AsyncClient, name: str, prompt: Prompt, temperature: float, seed: int
) -> Answer:
    return await client.chat(
        f"local:{name}",
        prompt.sent,
        temperature=temperature,
        seed=seed,
        max_tokens=MAX_TOKENS,
        stop=["\n"],
        logprobs=True,
    )


def run(models: Sequence[Model], prompts: Sequence[Prompt], path: Path, home: Path) -> None:
    asyncio.run(ask_all(models, prompts, path, home))
