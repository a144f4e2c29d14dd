"""Checks files of text: configurations, chat templates, scripts, start-up hooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pointsman.trust.formats.context import Scan, Template
from pointsman.trust.formats.names import escapes
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.companions import (
    CONFIG_CODE,
    CONFIG_ESCAPE,
    CONFIG_TARGET,
    CUSTOM_CODE,
    SCRIPT,
    STARTUP_HOOK,
)
from pointsman.trust.rules.weights import KERAS_CODE

__all__ = ["check_text"]

# A JSON file up to this is walked whole; a longer one, such as a vocabulary, by its text.
WALKED_BYTES = 4 * 1024 * 1024
SEARCHED_BYTES = 256 * 1024 * 1024
MAX_BRACKETS = 200_000
_HOOK = re.compile(rb"^(?:import|from)[ \t]", re.M)
_HOOK_NAMES = {"sitecustomize.py", "usercustomize.py", "conftest.py"}
_SCRIPTS = (
    ".sh",
    ".bash",
    ".bat",
    ".cmd",
    ".ps1",
    ".psm1",
    ".vbs",
    ".js",
    ".mjs",
    ".command",
    ".desktop",
)
_TARGET = re.compile(r"""["']?_target_["']?\s*:\s*["']?([\w.]+)""")
_PYTHON_TAG = re.compile(r"!!python/[\w/:.]+")
_CODE_KEY = re.compile(r'"(auto_map|custom_pipelines|trust_remote_code)"\s*:\s*([\[{"t])')
_USUAL_TARGETS = (
    "torch.nn.", "torch.optim.", "nemo.", "pytorch_lightning.", "lightning.", "omegaconf.", "diffusers.",
    "transformers.", "megatron.",
)  # fmt: skip
_KERAS_MODULES = {"keras", "tf_keras", "tensorflow", "keras_hub", "keras_nlp", "keras_cv"}
_KERAS_FUNCTIONS = {
    "activations",
    "losses",
    "metrics",
    "initializers",
    "regularizers",
    "constraints",
}
# What a file of skops makes objects of; its loader asks which to trust.
_USUAL_SKOPS = {"sklearn", "numpy", "scipy", "builtins", "collections", "xgboost", "lightgbm"}
_TEMPLATE = re.compile(r"\{%|\{\{")


def check_text(source: Source, scan: Scan) -> None:
    """Check a file of text by what it holds; its name adds what only a name can tell."""
    name = re.split(r"[/!\\]", source.name)[-1].lower()
    head = source.read(0, 4_096)
    if name.endswith(".pth") and _HOOK.search(source.read(0, 1024 * 1024)):
        scan.add(
            STARTUP_HOOK,
            source.name,
            "It is a .pth file with a line that Python runs at each start.",
        )
    if name in _HOOK_NAMES:
        scan.add(STARTUP_HOOK, source.name, "Python runs a file of this name by itself.")
    elif name.endswith((".py", ".pyw", ".pyi", ".ipynb")):
        scan.add(CUSTOM_CODE, source.name, "It is Python source.")
    elif head.startswith(b"#!"):
        line = head.split(b"\n", 1)[0][2:80].decode("utf-8", "replace").strip()
        scan.add(SCRIPT, source.name, f"It is a script for {line!a}.")
    elif name.endswith(_SCRIPTS):
        scan.add(SCRIPT, source.name, "It is a script, by its name.")
    if head.lstrip()[:1] in (b"{", b"["):
        _check_json(source, name, scan)
    elif not name.endswith((".md", ".rst")):
        _check_plain(source, name, scan)


def _check_plain(source: Source, name: str, scan: Scan) -> None:
    text = source.read(0, scan.limits.text_bytes).decode("utf-8", "backslashreplace")
    is_template = name.endswith((".jinja", ".jinja2", ".j2")) or "chat_template" in name
    tagged = _TEMPLATE.search(text) and not name.endswith(_MARKUP)
    if is_template or (tagged and ("message" in text or "__" in text)):
        if source.size > scan.limits.text_bytes:
            scan.cannot_check(source.name, f"the template is over {scan.limits.text_bytes} bytes")
        scan.add_template(Template(source.name, _template_name(name), text))
    _check_targets(source, text, scan)


_MARKUP = (".html", ".py", ".ipynb", ".txt", ".csv", ".tsv", ".xml", ".tex", ".svg")


def _template_name(name: str) -> str:
    stem = name.rpartition(".")[0] or name
    return "default" if stem in ("chat_template", "template") else stem


def _check_targets(source: Source, text: str, scan: Scan) -> None:
    for match in _TARGET.finditer(text):
        if not match[1].startswith(_USUAL_TARGETS):
            line = text.count("\n", 0, match.start()) + 1
            scan.add(
                CONFIG_TARGET,
                source.name,
                f"Line {line}: it asks for a call of {match[1][:100]}.",
                line=line,
            )
    for match in _PYTHON_TAG.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        scan.add(
            CONFIG_TARGET,
            source.name,
            f"Line {line}: the tag {match[0][:100]} makes a Python object.",
            line=line,
        )


def _check_json(source: Source, name: str, scan: Scan) -> None:
    if source.size > WALKED_BYTES:
        _search_json(source, scan)
        return
    raw = source.read(0, source.size)
    if raw.count(b"[") + raw.count(b"{") > MAX_BRACKETS:
        _search_json(source, scan)
        return
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        if name.endswith(".json"):
            scan.cannot_check(source.name, f"it is no JSON: {str(error)[:100]}")
        else:
            # JSON lines, or a template that begins with a brace.
            _check_plain(source, name, scan)
        return
    for key, inner, siblings in _pairs(value):
        _check_pair(source.name, key, inner, siblings, scan)


def _pairs(value: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Give each (key, value, object it stands in), at any depth."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            for key, inner in each.items():
                yield key, inner, each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _check_pair(path: str, key: str, value: Any, siblings: dict[str, Any], scan: Scan) -> None:
    if key in ("auto_map", "custom_pipelines") and value:
        names = sorted(map(str, value.values())) if isinstance(value, dict) else [str(value)]
        foreign = any("--" in each for each in names)
        where = ", some of it in another repository" if foreign else ""
        scan.add(
            CONFIG_CODE,
            path,
            f"Its {key} asks for code{where}: {', '.join(names)[:200]!a}.",
            severity="critical" if foreign else None,
        )
    elif key == "trust_remote_code" and value is True:
        scan.add(CONFIG_CODE, path, "It switches trust_remote_code on.")
    elif key == "_target_" and isinstance(value, str):
        if not value.startswith(_USUAL_TARGETS):
            scan.add(CONFIG_TARGET, path, f"It asks for a call of {value[:100]!a}.")
    elif key == "weight_map" and isinstance(value, dict):
        for shard in {str(each) for each in value.values() if escapes(str(each))}:
            scan.add(CONFIG_ESCAPE, path, f"It takes weights from {shard[:200]!a}.")
    elif key == "__module__" and "__loader__" in siblings and isinstance(value, str):
        if value.partition(".")[0] not in _USUAL_SKOPS:
            makes = str(siblings.get("__class__"))
            scan.add(CONFIG_TARGET, path, f"It makes {makes[:60]!a} of the module {value[:100]!a}.")
    elif key == "chat_template":
        _templates(path, value, scan)
    elif key == "class_name" and value in ("Lambda", "TFOpLambda", "__lambda__"):
        scan.add(KERAS_CODE, path, "It has a Lambda layer, which holds Python code.")
    elif key == "module" and isinstance(value, str) and "class_name" in siblings:
        makes = str(siblings["class_name"])
        if not _is_keras_layer(value, makes):
            text = f"It makes {makes[:60]!a} of the module {value[:100]!a}."
            scan.add(KERAS_CODE, path, text)


def _is_keras_layer(module: str, makes: str) -> bool:
    """Whether an object of a Keras config is one of Keras's own that takes no function."""
    root = module.split(".")[0]
    if root not in _KERAS_MODULES:
        return False
    return makes != "function" or module.rpartition(".")[2] in _KERAS_FUNCTIONS


def _templates(path: str, value: Any, scan: Scan) -> None:
    rows: list[tuple[str, Any]] = [("default", value)] if isinstance(value, str) else []
    if isinstance(value, list):
        rows = [
            (str(each.get("name")), each.get("template"))
            for each in value
            if isinstance(each, dict)
        ]
    if isinstance(value, dict):
        rows = list(value.items())
    for name, text in rows:
        if isinstance(text, str) and len(text) <= scan.limits.text_bytes:
            scan.add_template(Template(f"{path}!chat_template", name, text))
        else:
            scan.cannot_check(path, f"the chat template {name[:40]!a} is no text, or too long")


def _search_json(source: Source, scan: Scan) -> None:
    """Search a long JSON file for the keys that matter, written plainly or with escapes."""
    for _, piece in source.chunks(limit=SEARCHED_BYTES, overlap=4_096):
        text = piece.decode("utf-8", "replace")
        match = _CODE_KEY.search(text)
        if match:
            scan.add(CONFIG_CODE, source.name, f"It has the key {match[1]}.")
        _check_targets(source, text, scan)
        if '"chat_template"' in text:
            scan.cannot_check(source.name, "it holds a chat template and is too long to be walked")
        if re.search(
            r'"(?:[^"\\]|\\u00(?:6[0-9a-f]|7[0-9a-e])){0,20}\\u00(?:6[0-9a-f]|7[0-9a-e])[^"]{0,20}"\s*:',
            text,
            re.I,
        ):
            scan.cannot_check(
                source.name,
                "it writes plain letters of its keys as escapes, and is too long to be walked",
            )
    if source.size > SEARCHED_BYTES:
        scan.cannot_check(source.name, f"only its first {SEARCHED_BYTES} bytes were searched")
