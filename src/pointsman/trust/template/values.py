"""Works out what an expression of a template comes to, where that can be seen without rendering it.

A name that is put together from pieces is the usual way past a search for words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pointsman.trust.template.parser import Node

__all__ = ["Environment", "constants", "environment", "fold"]

MAX_TEXT = 10_000
MAX_CANDIDATES = 12
MAX_DEPTH = 24
MAX_WORK = 300_000

Value = str | int | float | bool | None
Values = tuple[Value, ...]


class Environment:
    """Name → the expressions that are assigned to it anywhere in the template.

    `left` is what may still be worked out in this template: a hostile one could ask for any amount.
    """

    def __init__(self) -> None:
        self.left = MAX_WORK
        self._assigned: dict[str, list[Node]] = {}
        self._active: set[str] = set()

    def add(self, name: str, values: Iterable[Node]) -> None:
        """Note what a name is set to."""
        self._assigned.setdefault(name, []).extend(values)

    def get(self, name: str) -> list[Node]:
        """Give the first few expressions that a name is set to."""
        return self._assigned.get(name, [])[:MAX_CANDIDATES]

    def names(self) -> set[str]:
        """Every name that is set."""
        return set(self._assigned)

    def enter(self, name: str) -> bool:
        """Whether a name may be looked into: one that is set from itself would go round."""
        if name in self._active:
            return False
        self._active.add(name)
        return True

    def leave(self, name: str) -> None:
        """End looking into a name."""
        self._active.discard(name)


def environment(tree: Node) -> Environment:
    """Collect what each name is set to; a loop's name has the items of a written list."""
    found = Environment()
    for node in tree.walk():
        match node:
            case Node(kind="set", children=[Node(kind="name", value=str(name)), value]):
                found.add(name, [value])
                # `ns.x` is set by `namespace(x=…)` as well as by itself.
                for each in value.children if value.kind == "call" else ():
                    if each.kind == "keyword":
                        found.add(f"{name}.{each.value}", each.children)
            case Node(
                kind="set",
                children=[
                    Node(kind="attr", value=key, children=[Node(kind="name", value=name)]),
                    value,
                ],
            ):
                found.add(f"{name}.{key}", [value])
            case Node(
                kind="for",
                children=[Node(children=[Node(kind="name", value=str(name))]), source, *_],
            ):
                if source.kind == "list":
                    found.add(name, source.children[:1_000])
            case Node(kind="param", value=str(name), children=[value]):
                found.add(name, [value])
            case Node(kind="with", children=[Node(kind="name", value=str(name)), value, *_]):
                found.add(name, [value])
            case _:
                pass
    return found


def fold(node: Node, names: Environment) -> Values:
    """Give the values that an expression may come to, as far as they are written in the template.

    Nothing where it depends on anything else. At most `MAX_CANDIDATES`.
    """
    return _fold(node, names, 0)


def constants(node: Node, names: Environment) -> list[str]:
    """Give the texts that an expression may come to, or that a written list or dict holds."""
    if node.kind in ("list", "dict", "pair"):
        parts = node.children[:1] if node.kind == "pair" else node.children[:200]
        return [text for part in parts for text in constants(part, names)]
    if node.kind == "name":
        inner = names.get(str(node.value))
        lists = [each for each in inner if each.kind in ("list", "dict")]
        if lists:
            return [text for each in lists for text in constants(each, names)]
    return [value for value in fold(node, names) if isinstance(value, str)]


def _fold(node: Node, names: Environment, depth: int) -> Values:
    names.left -= 1
    if depth > MAX_DEPTH or names.left < 0:
        return ()
    match node:
        case Node(kind="const", value=value):
            return (value,) if isinstance(value, str | int | float | bool) or value is None else ()
        case Node(kind="name", value=str(name)):
            if not names.enter(name):
                return ()
            found = _union(_fold(each, names, depth + 1) for each in names.get(name))
            names.leave(name)
            return found
        case Node(kind="body", children=children):
            texts = [each for each in children if each.kind == "text"]
            return (str(texts[0].value),) if len(children) == len(texts) == 1 else ()
        case Node(kind="if_expr", children=[_, *ways]):
            return _union(_fold(each, names, depth + 1) for each in ways)
        case Node(kind="op", value=str(word), children=[left, right]):
            return _operate(word, _fold(left, names, depth + 1), _fold(right, names, depth + 1))
        case Node(kind="op", value="unary -", children=[inner]):
            return tuple(
                -each for each in _fold(inner, names, depth + 1) if isinstance(each, int | float)
            )
        case Node(kind="filter", value=str(word), children=[base, *arguments]):
            return _method(word, base, arguments, names, depth)
        case Node(
            kind="call", children=[Node(kind="attr", value=str(word), children=[base]), *arguments]
        ):
            return _method(
                "format()" if word == "format" else "join()" if word == "join" else word,
                base,
                arguments,
                names,
                depth,
            )
        case Node(kind="attr", value=str(word), children=[Node(kind="name", value=name) as base]):
            return _attribute(f"{name}.{word}", base, Node("const", node.at, word), names, depth)
        case Node(kind="item", children=[base, key]):
            return _item(base, key, names, depth)
        case _:
            return ()


def _union(parts: Iterable[Values]) -> Values:
    found: list[Value] = []
    for part in parts:
        found.extend(each for each in part if each not in found)
        if len(found) >= MAX_CANDIDATES:
            break
    return tuple(found[:MAX_CANDIDATES])


def _operate(word: str, lefts: Values, rights: Values) -> Values:
    return _union(
        (_pair(word, left, right),)
        for left in lefts
        for right in rights
        if _pair(word, left, right) is not None
    )


def _pair(word: str, left: Value, right: Value) -> Value:
    if word == "~":
        return _short(f"{left}{right}")
    if word == "+" and isinstance(left, str) and isinstance(right, str):
        return _short(left + right)
    if word == "%" and isinstance(left, str):
        return _short(re.sub(r"%s", str(right).replace("\\", "\\\\"), left, count=1))
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _number(word, left, right)
    if (
        word == "*"
        and isinstance(left, str)
        and isinstance(right, int)
        and 0 <= right * len(left) <= MAX_TEXT
    ):
        return left * right
    return None


def _number(word: str, left: float, right: float) -> Value:
    try:
        match word:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right if abs(left) < 1e30 and abs(right) < 1e30 else 1e60
            case "**":
                small = abs(left) <= 1000 and 0 <= right <= 20
                return left**right if small else 1e60
            case "/" | "//":
                return left // right
    except (ArithmeticError, ValueError):
        return None
    return None


def _short(text: str) -> str | None:
    return text if len(text) <= MAX_TEXT else None


def _method(word: str, base: Node, arguments: list[Node], names: Environment, depth: int) -> Values:
    args = [_fold(each, names, depth + 1) for each in arguments[:4]]
    first = [str(each[0]) for each in args if each]
    if word in ("join", "join()"):
        return _join(word, base, arguments, first, names, depth)
    texts = [each for each in _fold(base, names, depth + 1) if isinstance(each, str)]
    if len(first) < len(args):
        return ()
    return _union((_short(_text(word, each, first) or ""),) for each in texts)


def _text(word: str, text: str, args: list[str]) -> str | None:
    match word, args:
        case (
            (
                "lower"
                | "upper"
                | "title"
                | "capitalize"
                | "trim"
                | "strip"
                | "string"
                | "safe"
                | "escape"
                | "e"
                | "lstrip"
                | "rstrip"
                | "list"
                | "casefold"
            ),
            _,
        ):
            return {"lower": text.lower(), "casefold": text.lower(), "upper": text.upper()}.get(
                word, text.strip() if word in ("trim", "strip") else text
            )
        case "reverse", _:
            return text[::-1]
        case "replace", [old, new, *_]:
            return text.replace(old, new) if len(text) * (len(new) + 1) <= MAX_TEXT * 10 else None
        case "format", _:
            for each in args:
                text = re.sub(r"%s", each.replace("\\", "\\\\"), text, count=1)
            return text
        case "format()", _:
            for index, each in enumerate(args):
                text = text.replace(f"{{{index}}}", each).replace("{}", each, 1)
            return text
    return None


def _join(
    word: str,
    base: Node,
    arguments: list[Node],
    first: list[str],
    names: Environment,
    depth: int,
) -> Values:
    """Both ways round: `list | join(glue)` and `glue.join(list)`."""
    source = arguments[0] if word == "join()" and arguments else base
    if word == "join()":
        glue = "".join(str(each) for each in _fold(base, names, depth + 1)[:1])
    else:
        glue = first[0] if first else ""
    if source.kind == "name":
        lists = [each for each in names.get(str(source.value)) if each.kind == "list"]
        source = lists[0] if lists else source
    if source.kind == "list":
        parts = [_fold(each, names, depth + 1) for each in source.children[:200]]
        return (_short(glue.join(str(each[0]) for each in parts)),) if all(parts) else ()
    texts = [each for each in _fold(source, names, depth + 1) if isinstance(each, str)]
    return _union((_short(glue.join(each)),) for each in texts)


def _attribute(dotted: str, base: Node, key: Node, names: Environment, depth: int) -> Values:
    if not names.enter(dotted):
        return ()
    set_to = [_fold(each, names, depth + 1) for each in names.get(dotted)]
    found = _union([*set_to, _item(base, key, names, depth)])
    names.leave(dotted)
    return found


def _item(base: Node, key: Node, names: Environment, depth: int) -> Values:
    if base.kind == "name":
        held = [each for each in names.get(str(base.value)) if each.kind in ("dict", "list")]
        inside = f"{base.value}[]"
        if held and names.enter(inside):
            found = _union(_item(each, key, names, depth + 1) for each in held)
            names.leave(inside)
            return found
    if base.kind == "dict":
        wanted = _fold(key, names, depth + 1)
        pairs = [
            each
            for each in base.children
            if set(_fold(each.children[0], names, depth + 1)) & set(wanted)
        ]
        return _union(_fold(each.children[1], names, depth + 1) for each in pairs[:MAX_CANDIDATES])
    if key.kind == "slice":
        # Where the bounds stand is not kept; backwards is the form that hides a name.
        bounds = [_fold(each, names, depth + 1) for each in key.children]
        step = -1 if any(-1 in each for each in bounds) else 1
        return tuple(
            each[::step] for each in _fold(base, names, depth + 1) if isinstance(each, str)
        )
    indexes = [each for each in _fold(key, names, depth + 1) if isinstance(each, int)]
    if base.kind == "list":
        items = base.children
        chosen = [items[index] for index in indexes if -len(items) <= index < len(items)]
        return _union(_fold(each, names, depth + 1) for each in chosen)
    texts = [each for each in _fold(base, names, depth + 1) if isinstance(each, str)]
    return _union(
        (text[index],) for text in texts for index in indexes if -len(text) <= index < len(text)
    )
