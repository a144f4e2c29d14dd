"""Choose the prompts that a route's dial is calibrated on: src/pointsman/data/router/calibration.json.gz.

    python scripts/choose_calibration_prompts.py ROUTING/train.jsonl.gz

As many of each benchmark, chosen by the hash of their text, of those whose benchmark is under the MIT
licence. Only the prompts are kept: any router can read them, so the dial of a router of one's own is
calibrated as well.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

OUT = Path(__file__).parent.parent / "src/pointsman/data/router/calibration.json.gz"
BENCHMARKS = ("llmrouter/commonsense_qa", "gsm8k", "math-l5", "mmlu", "mmlu-pro")
EACH = 48
MAX_CHARS = 1500


def main(path: str) -> None:
    """Write the file."""
    by_benchmark: dict[str, dict[str, str]] = {name: {} for name in BENCHMARKS}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            prompt = row["prompt"]
            if row["benchmark"] in by_benchmark and len(prompt) <= MAX_CHARS:
                digest = hashlib.sha256(prompt.encode()).hexdigest()
                by_benchmark[row["benchmark"]][digest] = prompt
    prompts = [found[digest] for found in by_benchmark.values() for digest in sorted(found)[:EACH]]
    text = json.dumps(prompts, ensure_ascii=False, indent=0)
    OUT.write_bytes(gzip.compress(text.encode(), mtime=0))
    counts = {name: min(len(found), EACH) for name, found in by_benchmark.items()}
    print(f"{len(prompts)} prompts, {OUT.stat().st_size} bytes: {counts}")


if __name__ == "__main__":
    main(*sys.argv[1:])
