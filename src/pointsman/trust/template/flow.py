"""Follows what the user says through a template: which expressions depend on the text of messages."""

from __future__ import annotations

from pointsman.trust.template.parser import Node
from pointsman.trust.template.values import Environment, constants

__all__ = ["FORM_KEYS", "TEXT_KEYS", "Flow"]

MAX_ROUNDS = 12
# Keys of a message, or of a part of one, that hold what people or tools write.
TEXT_KEYS = {
    "content",
    "text",
    "value",
    "prompt",
    "query",
    "input",
    "reasoning_content",
    "reasoning",
    "thinking",
    "parts",
}
# Keys that say what a message is; comparing them is what templates are for.
FORM_KEYS = {
    "role", "type", "name", "id", "index", "tool_calls", "tool_call_id", "function", "arguments",
    "image", "image_url", "images", "video", "audio", "url", "tool_plan", "format", "mime_type",
    "loop", "recipient", "channel", "task", "weight", "prefix", "mask", "length", "first", "last",
    "citations", "documents", "cache_control", "status", "tool_name", "call_id", "properties",
    "required", "description", "parameters", "enum", "items", "anyOf", "title", "default",
}  # fmt: skip
_WHOLE = {
    "string",
    "tojson",
    "join",
    "pprint",
    "list",
    "map",
    "selectattr",
    "rejectattr",
    "select",
    "lower",
}
_SPELLS = {"string", "tojson", "pprint", "join", "lower"}
# Filters that give messages again.
_SAME = {"first", "last", "list", "reverse", "selectattr", "rejectattr"}
# Tests and filters whose answer is of form, not of content.
_FORM_FILTERS = {"length", "count", "first_is", "items"}


class Flow:
    """Which names hold text of messages. A macro's parameter does if any call passes it some."""

    def __init__(self, tree: Node, names: Environment) -> None:
        self._names = names
        self.tainted: set[str] = set()
        # Names of whole messages, or of lists of them: their text is that of all they hold.
        self.whole: set[str] = {"messages", "conversation", "history"}
        self._spaces = {
            name for name in names.names() for each in names.get(name)
            if each.kind == "call" and each.children[0].value in ("namespace", "dict")
        }  # fmt: skip
        self._macros = self._collect(tree)
        assigned = list(_assignments(tree))
        calls = [each for each in tree.walk() if each.kind == "call"]
        for _ in range(MAX_ROUNDS):
            before = len(self.tainted) + len(self.whole)
            for target, value in assigned:
                if target not in self.whole and self._is_whole(value):
                    self.whole.add(target)
                if target not in self.tainted and self.holds(value):
                    self.tainted.add(target)
            for call in calls:
                self._pass(call)
            if len(self.tainted) + len(self.whole) == before:
                break

    def _collect(self, tree: Node) -> dict[str, list[str]]:
        macros = {}
        for node in tree.walk():
            if node.kind == "macro":
                params = [str(each.value) for each in node.children if each.kind == "param"]
                macros[params[0]] = params[1:]
        return macros

    def _pass(self, call: Node) -> None:
        base, *arguments = call.children
        params = self._macros.get(str(base.value), []) if base.kind == "name" else []
        for index, each in enumerate(arguments):
            if each.kind == "keyword":
                name, value = str(each.value), each.children[0]
            else:
                name, value = (params[index] if index < len(params) else ""), each
            if name in params and name not in self.tainted and self.holds(value):
                self.tainted.add(name)

    def holds(self, node: Node) -> bool:
        """Whether an expression's value depends on the text of messages."""
        match node:
            case Node(kind="name", value=value):
                return value in self.tainted
            case Node(kind="attr", value=str(key), children=[base]):
                dotted = f"{base.value}.{key}" if base.kind == "name" else ""
                return dotted in self.tainted or self._key(key, base)
            case Node(kind="item", children=[base, *keys]):
                words = [word for key in keys for word in constants(key, self._names)]
                if words:
                    return any(self._key(word, base) for word in words)
                return self.holds(base) or any(self.holds(key) for key in keys)
            case Node(kind="filter", value=str(word), children=[base, *arguments]):
                if word in _FORM_FILTERS:
                    return False
                if word in _WHOLE and self._is_whole(base) and self._names_text(word, arguments):
                    return True
                return any(self.holds(each) for each in node.children)
            case Node(
                kind="call", children=[Node(kind="attr", value=word, children=[base]), *arguments]
            ):
                if word in ("get", "pop") and arguments and constants(arguments[0], self._names):
                    return any(self._key(key, base) for key in constants(arguments[0], self._names))
                if word in ("values", "items") and self._is_whole(base):
                    return True
                return self.holds(base) or any(self.holds(each) for each in arguments)
            case Node(kind="test"):
                return False
            case Node(kind="op", value="~") if any(self._is_whole(each) for each in node.children):
                return True
            case Node(kind="if_expr", children=[_, *ways]):
                return any(self.holds(each) for each in ways)
            case _:
                return any(self.holds(each) for each in node.children)

    def _key(self, key: str, base: Node) -> bool:
        if key in TEXT_KEYS:
            return True
        if base.kind == "name" and base.value in self._spaces:
            return self.holds(base)
        return key not in FORM_KEYS and self.holds(base)

    def _is_whole(self, node: Node) -> bool:
        """Whether an expression is a message, or a list of messages."""
        match node:
            case Node(kind="name", value=value):
                return value in self.whole
            case Node(kind="item", children=[base, *keys]):
                named = any(constants(key, self._names) for key in keys)
                return not named and self._is_whole(base)
            case Node(kind="filter", value=str(word), children=[base, *_]):
                return word in _SAME and self._is_whole(base)
            case Node(kind="op", value="+") | Node(kind="list"):
                return any(self._is_whole(each) for each in node.children)
            case _:
                return False

    def _names_text(self, word: str, arguments: list[Node]) -> bool:
        """Whether a filter over messages gives their text, not only their roles."""
        if word in _SPELLS:
            return True
        keys = [
            text
            for each in arguments
            for text in constants(each.children[0] if each.kind == "keyword" else each, self._names)
        ]
        return bool(keys) and keys[0].split(".")[0] in TEXT_KEYS


def _assignments(tree: Node) -> list[tuple[str, Node]]:
    found: list[tuple[str, Node]] = []
    for node in tree.walk():
        if node.kind == "set":
            target, value = node.children[:2]
            found.extend((name, value) for name in _names(target))
        elif node.kind == "for":
            target, source = node.children[:2]
            # What is walked over: messages themselves are no text, parts of a content are.
            found.extend((name, source) for name in _names(target))
        elif node.kind == "with":
            pairs = zip(node.children[::2], node.children[1::2], strict=False)
            found.extend((name, value) for left, value in pairs for name in _names(left))
        elif node.kind == "macro":
            found.extend(
                (str(each.value), each.children[0])
                for each in node.children
                if each.kind == "param" and each.children
            )
    return found


def _names(target: Node) -> list[str]:
    """The names that are assigned to, such as `x` and `ns.x`."""
    if target.kind == "attr" and target.children[0].kind == "name":
        return [f"{target.children[0].value}.{target.value}"]
    if target.kind == "name":
        return [str(target.value)]
    return [name for each in target.children for name in _names(each)]
