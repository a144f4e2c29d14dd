"""Fuzz the readers of hostile files: any bytes must give a report, in bounded time and memory.

    python scripts/fuzz.py                        each target for a minute
    python scripts/fuzz.py --minutes 10 gguf safetensors

Guided by coverage: with atheris (libFuzzer) where it is installed, else by a small loop of our own
that keeps what reaches new lines. Seeds are the corpus of tests/trust. A crash, an input that takes over
ten seconds, or over 512 MB is written to .fuzz/ and ends the target with status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".fuzz"
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "trust")]

TARGETS = ("gguf", "safetensors", "pickle", "zip", "template", "scan")
MAX_BYTES = 4_096
TIMEOUT_S = 10
MEMORY_MB = 512


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], default=list(TARGETS))
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return fuzz_one(options.targets[0], options.minutes * 60, options.seed)
    status = 0
    for target in options.targets:
        command = [sys.executable, __file__, target, "--one", "--minutes", str(options.minutes)]
        status |= subprocess.run([*command, "--seed", str(options.seed)]).returncode != 0
    return int(status)


def fuzz_one(target: str, seconds: float, seed: int) -> int:
    folder = HOME / target
    folder.mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris") is not None:
        return with_atheris(target, folder, seconds, seed)
    return with_our_own(target, folder, seconds, seed)


def entry(target: str) -> Callable[[bytes], None]:
    """Give what is fuzzed: a function of bytes that must not raise."""
    from pointsman.trust.formats.context import Limits, Scan, Template
    from pointsman.trust.formats.gguf import check_gguf
    from pointsman.trust.formats.pickles import check_pickle, probe_pickle
    from pointsman.trust.formats.safetensors import check_safetensors
    from pointsman.trust.formats.source import Source
    from pointsman.trust.formats.zips import open_entry, read_zip
    from pointsman.trust.scan import scan_bytes
    from pointsman.trust.template.lint import lint_template

    limits = Limits(expanded_bytes=16 * 1024 * 1024, opcodes=100_000)

    def collect(check: Callable[[Source, Scan], object]) -> Callable[[bytes], None]:
        def run(data: bytes) -> None:
            scan = Scan(limits, lambda *_: None)
            try:
                check(Source.of_bytes("f", data), scan)
            finally:
                scan.close()

        return run

    def both_pickle(source: Source, scan: Scan) -> None:
        probe_pickle(source)
        check_pickle(source, scan)

    def members(source: Source, scan: Scan) -> None:
        for each in read_zip(source, scan):
            open_entry(source, each, scan)

    def template(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        lint_template(Template("f", "default", text), Scan(limits, lambda *_: None))

    return {
        "gguf": collect(check_gguf),
        "safetensors": collect(check_safetensors),
        "pickle": collect(both_pickle),
        "zip": collect(members),
        "template": template,
        "scan": lambda data: (scan_bytes("f", data, limits=limits), None)[1],
    }[target]


def seeds(target: str) -> Iterator[bytes]:
    import trust_corpus

    ends = {
        "gguf": (".gguf",), "safetensors": (".safetensors",), "pickle": (".pkl",),
        "zip": (".zip", ".pt", ".npz", ".keras"), "template": (".jinja",), "scan": ("",),
    }[target]  # fmt: skip
    for name, raw in {**trust_corpus.benign(), **trust_corpus.hostile()}.items():
        if (
            name.endswith(ends)
            and len(raw) <= MAX_BYTES
            and (target != "scan" or not name.startswith("lie"))
        ):
            yield raw


def with_atheris(target: str, folder: Path, seconds: float, seed: int) -> int:
    """Run libFuzzer on the target; it ends the process, with status 1 on a crash."""
    import atheris

    with atheris.instrument_imports(include=["pointsman.trust"]):
        run = entry(target)
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for raw in seeds(target):
        (corpus / hashlib.sha256(raw).hexdigest()[:16]).write_bytes(raw)
    arguments = [
        sys.argv[0], str(corpus), f"-max_total_time={int(seconds)}", f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MB}", f"-max_len={MAX_BYTES}", f"-seed={seed}",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    print(f"{target}: atheris, {seconds:.0f} s", flush=True)
    atheris.Setup(arguments, run)
    atheris.Fuzz()
    return 0


def with_our_own(target: str, folder: Path, seconds: float, seed: int) -> int:
    """Mutate what has reached new lines, for so many seconds."""
    chance = random.Random(seed)
    run = entry(target)
    seen: set[tuple[str, int]] = set()
    pool: list[bytes] = []
    for raw in seeds(target):
        if new_lines(run, raw, seen):
            pool.append(raw)
    started, count, slowest = time.monotonic(), 0, 0.0
    while time.monotonic() - started < seconds:
        raw = mutated(chance, pool)
        count += 1
        before = time.process_time()
        try:
            # Tracing costs much; only every few inputs are looked at for new lines.
            if count % 4:
                run(raw)
            elif new_lines(run, raw, seen):
                pool.append(raw)
        except Exception as error:
            path = folder / f"crash-{hashlib.sha256(raw).hexdigest()[:16]}"
            path.write_bytes(raw)
            print(f"{target}: {type(error).__name__}: {error}: {path}")
            return 1
        taken = time.process_time() - before
        slowest = max(slowest, taken)
        if taken > TIMEOUT_S:
            (folder / "slow").write_bytes(raw)
            print(f"{target}: {taken:.1f} s for one input: {folder / 'slow'}")
            return 1
    print(
        f"{target}: {count} inputs in {seconds:.0f} s, {len(seen)} lines, slowest {slowest:.2f} s"
    )
    return 0


def new_lines(run: Callable[[bytes], None], raw: bytes, seen: set[tuple[str, int]]) -> bool:
    before = len(seen)

    def trace(frame, event, argument):  # type: ignore[no-untyped-def]
        name = frame.f_code.co_filename
        if "pointsman/trust" not in name:
            return None
        if event == "line":
            seen.add((name, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        run(raw)
    finally:
        sys.settrace(None)
    return len(seen) > before


NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


def mutated(chance: random.Random, pool: list[bytes]) -> bytes:
    raw = bytearray(chance.choice(pool))
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(6):
            case 0:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                size = chance.choice((1, 2, 4, 8))
                number = chance.choice(NUMBERS) & ((1 << 8 * size) - 1)
                raw[at : at + size] = number.to_bytes(size, chance.choice(("little", "big")))
            case 2:
                del raw[at : at + chance.randrange(1, 17)]
            case 3:
                raw[at:at] = raw[at : at + chance.randrange(1, 33)]
            case 4:
                other = chance.choice(pool)
                start = chance.randrange(len(other) + 1)
                raw[at : at + chance.randrange(33)] = other[start : start + chance.randrange(1, 65)]
            case _:
                raw[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(raw[:MAX_BYTES])


if __name__ == "__main__":
    sys.exit(main())
