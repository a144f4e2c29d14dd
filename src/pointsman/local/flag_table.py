"""The options of llama-server that make sense for one model, and what each is for the worker.

A row without an attribute is known, but the `xllamacpp` wheel has no place for it. What is ours to
decide, or no business of a model, is in `REFUSED` with the reason.

Source: tools/server/README.md and common/arg.cpp of llama.cpp, b11549; the attributes are those of
xllamacpp 2026.10.11549 (`CommonParams`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["FLAGS", "REFUSED_PREFIXES", "Flag", "canonical", "refusal"]

Kind: TypeAlias = Literal["switch", "integer", "number", "text", "file", "word", "list", "files"]


class Flag(Struct, frozen=True):
    """One option. `attribute` is a dotted path in the worker's parameters, None if it has none.

    `words` are the values that are taken, each with its value there (the name of a member where
    that is an enum). `inverted` marks a switch whose attribute says the opposite. `joint` joins a
    list into one value; without it the option is repeated. `also` are its other names, of older and
    of newer builds.
    """

    kind: Kind
    attribute: str | None = None
    words: Mapping[str, str | int] = {}
    least: float | None = None
    most: float | None = None
    inverted: bool = False
    joint: str | None = None
    also: tuple[str, ...] = ()


def _switch(attribute: str | None = None, *also: str, inverted: bool = False) -> Flag:
    return Flag("switch", attribute, inverted=inverted, also=also)


def _integer(
    attribute: str | None = None, *also: str, least: int | None = 0, most: int | None = None
) -> Flag:
    return Flag("integer", attribute, least=least, most=most, also=also)


def _number(
    attribute: str | None = None, *also: str, least: float | None = None, most: float | None = None
) -> Flag:
    return Flag("number", attribute, least=least, most=most, also=also)


def _text(attribute: str | None = None, *also: str) -> Flag:
    return Flag("text", attribute, also=also)


def _file(attribute: str | None = None, *also: str) -> Flag:
    return Flag("file", attribute, also=also)


def _word(attribute: str | None, words: Mapping[str, str | int], *also: str) -> Flag:
    return Flag("word", attribute, words=words, also=also)


def _members(prefix: str, *words: str) -> dict[str, str | int]:
    return {word: prefix + word.upper().replace("-", "_") for word in words}


_CACHE_TYPES = _members(
    "GGML_TYPE_", "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"
)
_FLASH = {
    "on": "LLAMA_FLASH_ATTN_TYPE_ENABLED",
    "off": "LLAMA_FLASH_ATTN_TYPE_DISABLED",
    "auto": "LLAMA_FLASH_ATTN_TYPE_AUTO",
}
_LOAD_MODES = {
    **_members("LLAMA_LOAD_MODE_", "auto", "none", "mmap", "mlock"),
    "mmap+mlock": "LLAMA_LOAD_MODE_MMAP_MLOCK",
    "dio": "LLAMA_LOAD_MODE_DIRECT_IO",
}
_SPEC_TYPES = _members(
    "COMMON_SPECULATIVE_TYPE_", "none", "draft-simple", "draft-eagle3", "draft-mtp", "draft-dflash",
    "draft-dspark", "ngram-simple", "ngram-map-k", "ngram-map-k4v", "ngram-mod", "ngram-cache",
)  # fmt: skip

_CONTEXT = {
    "cache-type-k": _word("cache_type_k", _CACHE_TYPES),
    "cache-type-v": _word("cache_type_v", _CACHE_TYPES),
    "flash-attn": _word("flash_attn_type", _FLASH),
    "kv-offload": _switch("no_kv_offload", inverted=True),
    "kv-unified": _switch("kv_unified"),
    "cache-reuse": _integer("n_cache_reuse"),
    "cache-prompt": _switch("cache_prompt"),
    "cache-ram": _integer("cache_ram_mib", least=-1),
    "cache-idle-slots": _switch("cache_idle_slots"),
    "swa-full": _switch("swa_full"),
    "ctx-checkpoints": _integer("n_ctx_checkpoints", "swa-checkpoints"),
    "checkpoint-min-step": _integer("checkpoint_min_step"),
    "context-shift": _switch("ctx_shift"),
    "keep": _integer("n_keep", least=-1),
    "predict": _integer("n_predict", "n-predict", least=-2),
    "slot-prompt-similarity": _number("slot_prompt_similarity", least=0, most=1),
    "rope-scaling": _word(
        "rope_scaling_type", _members("LLAMA_ROPE_SCALING_TYPE_", "none", "linear", "yarn")
    ),
    "rope-scale": _number("rope_freq_scale", least=0.001),
    "rope-freq-base": _number("rope_freq_base", least=0),
    "rope-freq-scale": _number("rope_freq_scale", least=0),
    "yarn-orig-ctx": _integer("yarn_orig_ctx"),
    "yarn-ext-factor": _number("yarn_ext_factor"),
    "yarn-attn-factor": _number("yarn_attn_factor"),
    "yarn-beta-slow": _number("yarn_beta_slow"),
    "yarn-beta-fast": _number("yarn_beta_fast"),
    "override-kv": Flag("list", joint=","),
    "defrag-thold": _number(),
}
_MACHINE = {
    "batch-size": _integer("n_batch", least=1),
    "ubatch-size": _integer("n_ubatch", least=1),
    "threads": _integer("cpuparams.n_threads", least=1),
    "threads-batch": _integer("cpuparams_batch.n_threads", least=1),
    "threads-http": _integer("n_threads_http", least=-1),
    "cont-batching": _switch("cont_batching"),
    "poll": _integer("cpuparams.poll", most=100),
    "poll-batch": _integer("cpuparams_batch.poll", most=100),
    "prio": _integer("cpuparams.priority", least=-1, most=3),
    "prio-batch": _integer("cpuparams_batch.priority", least=-1, most=3),
    "cpu-mask": _text(),
    "cpu-mask-batch": _text(),
    "cpu-range": _text(),
    "cpu-range-batch": _text(),
    "cpu-strict": _integer("cpuparams.strict_cpu", most=1),
    "cpu-strict-batch": _integer("cpuparams_batch.strict_cpu", most=1),
    "numa": _word("numa", _members("GGML_NUMA_STRATEGY_", "distribute", "isolate", "numactl")),
    "n-gpu-layers": Flag(
        "integer", "n_gpu_layers", words={"auto": -1, "all": -2}, least=-2, also=("gpu-layers",)
    ),
    "split-mode": _word(
        "split_mode", _members("LLAMA_SPLIT_MODE_", "none", "layer", "row", "tensor")
    ),
    "tensor-split": Flag("list", "tensor_split", joint=","),
    "main-gpu": _integer("main_gpu"),
    "device": Flag("list", joint=","),
    "rpc": Flag("list", joint=","),
    "cpu-moe": _switch("tensor_buft_overrides"),
    "n-cpu-moe": _integer("tensor_buft_overrides", most=10_000),
    "n-cpu-ffn": _integer(),
    "moe-cache-mib": _integer("moe_cache_size"),
    "override-tensor": Flag("list", "tensor_buft_overrides", joint=","),
    "fit": _word("fit_params", {"on": True, "off": False}),
    "fit-ctx": _integer("fit_params_min_ctx"),
    "fit-target": Flag("list", "fit_params_target", joint=","),
    "op-offload": _switch("no_op_offload", inverted=True),
    "repack": _switch("no_extra_bufts", inverted=True),
    "no-host": _switch("no_host"),
    "load-mode": _word("load_mode", _LOAD_MODES),
    "lazy-mode": _word("lazy_mode", _members("LLAMA_LAZY_MODE_", "on", "auto", "off")),
    "mmap": _switch("load_mode"),
    "mlock": _switch("load_mode"),
    "direct-io": _switch("load_mode"),
    "check-tensors": _switch("check_tensors"),
    "warmup": _switch("warmup"),
    "perf": _switch("no_perf", inverted=True),
    "timeout": _integer("timeout_read", least=1),
}
_PARTS = {
    "lora": Flag("files", "lora_adapters"),
    "lora-scaled": Flag("files", "lora_adapters"),
    "lora-init-without-apply": _switch("lora_init_without_apply"),
    "control-vector": Flag("files"),
    "control-vector-scaled": Flag("files"),
    "control-vector-layer-range": Flag("list", joint=" "),
    "mmproj": _file("mmproj.path"),
    "mmproj-auto": _switch("no_mmproj", inverted=True),
    "mmproj-offload": _switch("mmproj_use_gpu"),
    "mmproj-device": _text("mmproj_device"),
    "image-min-tokens": _integer("image_min_tokens", least=1),
    "image-max-tokens": _integer("image_max_tokens", least=1),
    "mtmd-batch-max-tokens": _integer("mtmd_batch_max_tokens", least=1),
    "media-path": _file("media_path"),
    "video-fps": _number("video_fps", least=0),
    "video-timestamp-interval": _integer("video_timestamp_interval_ms"),
    "pooling": _word(
        "pooling_type", _members("LLAMA_POOLING_TYPE_", "none", "mean", "cls", "last", "rank")
    ),
    "attention": _word(
        "attention_type",
        {
            "causal": "LLAMA_ATTENTION_TYPE_CAUSAL",
            "non-causal": "LLAMA_ATTENTION_TYPE_NON_CAUSAL",
        },
    ),
    "embeddings": _switch("embedding", "embedding"),
    "reranking": _switch("pooling_type", "rerank"),
    "embd-normalize": _integer("embd_normalize", least=-1),
    "spm-infill": _switch(),
}
_CHAT = {
    "jinja": _switch("use_jinja"),
    "chat-template": _text("chat_template"),
    "chat-template-file": _file("chat_template_file"),
    "chat-template-kwargs": _text("default_template_kwargs"),
    "reasoning": _word("enable_reasoning", {"on": 1, "off": 0, "auto": -1}),
    "reasoning-format": _word(
        "reasoning_format",
        _members("COMMON_REASONING_FORMAT_", "none", "auto", "deepseek", "deepseek-legacy"),
    ),
    "reasoning-budget": _integer("sampling.reasoning_budget_tokens", least=-1),
    "reasoning-budget-message": _text("sampling.reasoning_budget_message"),
    "reasoning-effort": _text(),
    "reasoning-preserve": _switch(),
    "prefill-assistant": _switch("prefill_assistant"),
    "skip-chat-parsing": _switch("force_pure_content_parser"),
    "special": _switch("special"),
    "grammar": _text(),
    "grammar-file": _file(),
    "json-schema": _text(),
    "json-schema-file": _file(),
}
_SAMPLING = {
    "temp": _number("sampling.temp", "temperature", least=0),
    "top-k": _integer("sampling.top_k", least=None),
    "top-p": _number("sampling.top_p", least=0, most=1),
    "min-p": _number("sampling.min_p", least=0, most=1),
    "top-n-sigma": _number(None, "top-nsigma"),
    "typical": _number("sampling.typ_p", "typical-p", least=0, most=1),
    "repeat-last-n": _integer("sampling.penalty_last_n", least=-1),
    "repeat-penalty": _number("sampling.penalty_repeat", least=0),
    "presence-penalty": _number("sampling.penalty_present"),
    "frequency-penalty": _number("sampling.penalty_freq"),
    "dry-multiplier": _number("sampling.dry_multiplier", least=0),
    "dry-base": _number("sampling.dry_base", least=0),
    "dry-allowed-length": _integer("sampling.dry_allowed_length"),
    "dry-penalty-last-n": _integer("sampling.dry_penalty_last_n", least=-1),
    "dry-sequence-breaker": Flag("list"),
    "xtc-probability": _number("sampling.xtc_probability", least=0, most=1),
    "xtc-threshold": _number("sampling.xtc_threshold", least=0, most=1),
    "dynatemp-range": _number("sampling.dynatemp_range", least=0),
    "dynatemp-exp": _number("sampling.dynatemp_exponent"),
    "adaptive-target": _number("sampling.adaptive_target", most=1),
    "adaptive-decay": _number("sampling.adaptive_decay", least=0, most=0.99),
    "mirostat": _integer("sampling.mirostat", most=2),
    "mirostat-lr": _number("sampling.mirostat_eta", least=0),
    "mirostat-ent": _number("sampling.mirostat_tau", least=0),
    "seed": _integer("sampling.seed", least=-1, most=2**32 - 1),
    "samplers": Flag("list", "sampling.samplers", joint=";"),
    "sampler-seq": _text(None, "sampling-seq"),
    "ignore-eos": _switch("sampling.ignore_eos"),
    "logit-bias": Flag("list"),
    "backend-sampling": _switch("sampling.backend_sampling"),
}
_DRAFT = "speculative.draft."
_SPECULATIVE = {
    "spec-type": Flag("list", "speculative.types", words=_SPEC_TYPES, joint=","),
    "spec-default": _switch(),
    "spec-draft-model": _file(f"{_DRAFT}mparams.path", "model-draft"),
    "spec-draft-n-max": _integer(f"{_DRAFT}n_max", "draft-max", "draft", "draft-n", least=1),
    "spec-draft-n-min": _integer(f"{_DRAFT}n_min", "draft-min", "draft-n-min"),
    "spec-draft-p-min": _number(f"{_DRAFT}p_min", "draft-p-min", least=0, most=1),
    "spec-draft-p-split": _number(f"{_DRAFT}p_split", "draft-p-split", least=0, most=1),
    "spec-draft-sampling": _word(
        f"{_DRAFT}probabilistic", {"greedy": False, "probabilistic": True}
    ),
    "spec-draft-backend-sampling": _switch(f"{_DRAFT}backend_sampling"),
    "spec-draft-ngl": Flag(
        "integer",
        f"{_DRAFT}n_gpu_layers",
        words={"auto": -1, "all": -2},
        least=-2,
        also=("n-gpu-layers-draft", "gpu-layers-draft"),
    ),
    "spec-draft-device": Flag("list", f"{_DRAFT}devices", joint=",", also=("device-draft",)),
    "spec-draft-threads": _integer(f"{_DRAFT}cpuparams.n_threads", "threads-draft", least=1),
    "spec-draft-threads-batch": _integer(
        f"{_DRAFT}cpuparams_batch.n_threads", "threads-batch-draft", least=1
    ),
    "spec-draft-type-k": _word(f"{_DRAFT}cache_type_k", _CACHE_TYPES, "cache-type-k-draft"),
    "spec-draft-type-v": _word(f"{_DRAFT}cache_type_v", _CACHE_TYPES, "cache-type-v-draft"),
    "spec-draft-override-tensor": Flag(
        "list", f"{_DRAFT}tensor_buft_overrides", joint=",", also=("override-tensor-draft",)
    ),
    "spec-draft-cpu-moe": _switch(f"{_DRAFT}tensor_buft_overrides", "cpu-moe-draft"),
    "spec-draft-n-cpu-moe": _integer(
        f"{_DRAFT}tensor_buft_overrides", "n-cpu-moe-draft", "spec-draft-ncmoe", most=10_000
    ),
    "spec-ngram-mod-n-match": _integer("speculative.ngram_mod.n_match", least=1),
    "spec-ngram-mod-n-min": _integer("speculative.ngram_mod.n_min"),
    "spec-ngram-mod-n-max": _integer("speculative.ngram_mod.n_max"),
    **{
        f"spec-ngram-{name}-{option}": _integer(
            f"speculative.ngram_{name.replace('-', '_')}.{option.replace('-', '_')}", least=1
        )
        for name in ("simple", "map-k", "map-k4v")
        for option in ("size-n", "size-m", "min-hits")
    },
    "lookup-cache-static": _file("speculative.ngram_cache.lookup_cache_static"),
    "lookup-cache-dynamic": _file("speculative.ngram_cache.lookup_cache_dynamic"),
}

FLAGS: dict[str, Flag] = {
    **_CONTEXT,
    **_MACHINE,
    **_PARTS,
    **_CHAT,
    **_SAMPLING,
    **_SPECULATIVE,
}

_ALSO = {name: main for main, flag in FLAGS.items() for name in flag.also}
_ALSO |= {"no-mmproj": "no-mmproj-auto"}

_KEY = "set the key '{}' of [local.models.NAME] in its place"
_FILE = "files are fetched by 'pointsman pull'"
_SOCKET = "its socket is ours: only this process talks to the engine"
_LOG = "its log is read here"
_ENDS = "it ends the engine"
_RUNS = "it would run commands on this machine for whoever asks"
_REFUSED = {
    "model": _KEY.format("path"),
    "ctx-size": _KEY.format("context"),
    "kv-unified-per-slot": _KEY.format("context"),
    "parallel": _KEY.format("slots"),
    "alias": "the model's name is that of its table",
    "tags": "the model's name is that of its table",
    "sleep-idle-seconds": _KEY.format("idle_s"),
    "slots": "it shows the prompts of all callers",
    "slot-save-path": "it writes the prompts of all callers down",
    "props": "it lets callers change the model's settings",
    "metrics": "the gateway has /metrics",
    "offline": "it is always on",
    **dict.fromkeys(("model-url", "docker-repo", "mmproj-url", "spec-draft-hf"), _FILE),
    **dict.fromkeys(
        ("host", "port", "reuse-port", "api-key", "api-key-file", "api-prefix", "path", "server-base",
         "sse-ping-interval"),
        _SOCKET,
    ),
    **dict.fromkeys(("verbose", "verbosity", "verbose-prompt"), _LOG),
    **dict.fromkeys(
        ("help", "usage", "version", "license", "list-devices", "cache-list", "completion-bash"),
        _ENDS,
    ),
    **dict.fromkeys(("tools", "tools-runtime", "agent"), _RUNS),
}  # fmt: skip
REFUSED_PREFIXES = {
    "hf-": _FILE,
    "ssl-": _SOCKET,
    "cors-": _SOCKET,
    "log-": _LOG,
    "models-": "one process runs one model here",
    "mcp-": _RUNS,
    "ui": "the engine has no pages here",
    "webui": "the engine has no pages here",
}
# `--gpt-oss-20b-default` and the like: presets that fetch files.
_PRESET = re.compile(r"(fim|gpt|vision|embd)-.*-(default|spec)")


def canonical(name: str) -> tuple[str, bool]:
    """Give the table's name of an option, and whether it was named by its negative form."""
    name = _ALSO.get(name, name)
    if name not in FLAGS and name.startswith("no-"):
        positive = name.removeprefix("no-")
        return _ALSO.get(positive, positive), True
    return name, False


def refusal(name: str) -> str | None:
    """Why an option is not a model's to set, by its name without `no-`; None if it may be."""
    if name in FLAGS:
        return None
    if name in _REFUSED:
        return _REFUSED[name]
    if _PRESET.fullmatch(name):
        return _FILE
    return next((why for head, why in REFUSED_PREFIXES.items() if name.startswith(head)), None)
