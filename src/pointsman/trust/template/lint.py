"""Checks a chat template's tree against the rules; nothing is rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pointsman.trust.formats.context import Fault, Scan, Template
from pointsman.trust.formats.names import hidden_letters
from pointsman.trust.rules.base import Rule
from pointsman.trust.rules.templates import (
    TEMPLATE_ATTRIBUTE,
    TEMPLATE_BLOB,
    TEMPLATE_CONTENT_BRANCH,
    TEMPLATE_HIDDEN_TEXT,
    TEMPLATE_IMPORT,
    TEMPLATE_INJECTION,
    TEMPLATE_LOOP,
    TEMPLATE_SYSTEM_PROMPT,
    TEMPLATE_URL,
)
from pointsman.trust.template.flow import FORM_KEYS, TEXT_KEYS, Flow
from pointsman.trust.template.parser import Node, parse_template
from pointsman.trust.template.text import (
    blobs,
    hides_instructions,
    instructs_a_reader,
    is_marker,
    prose,
    urls,
)
from pointsman.trust.template.values import Environment, constants, environment, fold

__all__ = ["lint_template"]

MAX_LOOP = 10_000
MAX_NESTED_LOOPS = 1_000_000
MAX_REPEAT = 100_000
MAX_SINGLE_LETTERS = 2
_INSIDES = re.compile(
    r"__\w+__|\b(?:mro|func_globals|func_code|gi_frame|gi_code|cr_frame|ag_frame|f_globals|f_builtins|f_back"
    r"|tb_frame|co_code)\b"
)
_BY_ATTRIBUTE = {
    "attr",
    "map",
    "selectattr",
    "rejectattr",
    "sort",
    "groupby",
    "sum",
    "unique",
    "min",
    "max",
}
_HOST_NAMES = {
    "lipsum",
    "cycler",
    "joiner",
    "self",
    "request",
    "url_for",
    "get_flashed_messages",
    "session",
    "g",
    "application",
    "handler",
    "settings",
    "environ",
}
_COMPARES = {"==", "!=", "in", "not in", "<", ">", "<=", ">="}
_TESTS = {
    "in",
    "eq",
    "==",
    "equalto",
    "ne",
    "!=",
    "sameas",
    "lt",
    "gt",
    "le",
    "ge",
    "startswith",
    "containing",
    "match",
    "search",
}
_LOOKS = {
    "startswith",
    "endswith",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "partition",
    "rpartition",
    "split",
    "rsplit",
    "removeprefix",
    "removesuffix",
    "replace",
    "strip",
    "match",
    "search",
}
_MARK_ONLY = {"split", "rsplit", "replace", "strip", "partition", "rpartition"}
_WHO_AND_WHEN = re.compile(
    r"(?:^|_)(?:now|date|today|time|year|month|weekday|day|hour|user|username|locale|language|lang|country|region"
    r"|timezone|hostname|host|env|environment|ip)(?:$|_)|strftime",
    re.I,
)


class _Lint:
    def __init__(self, template: Template, tree: Node, scan: Scan) -> None:
        self.template = template
        self.tree = tree
        self.scan = scan
        self.names: Environment = environment(tree)
        self.flow = Flow(tree, self.names)
        self.known = self.names.names() | {
            str(each.value) for node in tree.walk() if node.kind in ("for", "macro", "set", "with", "import", "from")
            for each in node.walk() if (each.kind in ("name", "param") and node.kind != "for") or each.kind == "target"
        }  # fmt: skip
        self.seen: set[tuple[str, int]] = set()
        # Keys that the template takes from anything: asking whether one is there is no question of words.
        self.keys = FORM_KEYS | TEXT_KEYS | _keys_taken(tree)

    def add(self, rule: Rule, at: int, message: str, severity: str | None = None) -> None:
        if (rule.id, at) in self.seen:
            return
        self.seen.add((rule.id, at))
        line = self.template.text.count("\n", 0, at) + 1
        text = f"Line {line}: {message}"
        self.scan.add(rule, self.template.path, text, line=line)

    def shown(self, node: Node) -> str:
        """The source about a node, on one line."""
        start = max(0, node.at - 30)
        return ascii(" ".join(self.template.text[start : node.at + 60].split()))[1:-1]


def _keys_taken(tree: Node) -> set[str]:
    found = set()
    for node in tree.walk():
        if node.kind == "attr":
            found.add(str(node.value))
        elif node.kind == "item":
            found.update(each.value for each in node.children[1:] if isinstance(each.value, str))
    return found


def lint_template(template: Template, scan: Scan) -> None:
    """Report what is wrong with a chat template.

    One that can't be parsed is noted as not checked, with what could be told from its text.
    """
    text = template.text
    _check_text(template, scan)
    try:
        tree = parse_template(text)
        lint = _Lint(template, tree, scan)
        for node in tree.walk():
            _check_attribute(lint, node)
            _check_import(lint, node)
            _check_loop(lint, node)
            _check_compare(lint, node)
            _check_branch(lint, node)
            _check_comment(lint, node)
        _check_nesting(lint, tree, 1.0, 0)
        _check_prompt(lint)
        _check_letters(lint)
        if lint.names.left < 0:
            scan.cannot_check(template.path, "its expressions are too entangled to be worked out")
    except Fault as fault:
        line = text.count("\n", 0, fault.offset or 0) + 1
        scan.cannot_check(
            template.path, f"the template cannot be parsed: line {line}: {fault.message}"
        )
    except RecursionError:
        scan.cannot_check(template.path, "the template is nested too deep")


def _check_text(template: Template, scan: Scan) -> None:
    text = template.text

    def add(rule: Rule, at: int, message: str) -> None:
        line = text.count("\n", 0, at) + 1
        scan.add(rule, template.path, f"Line {line}: {message}", line=line)

    hidden = [each for each in hidden_letters(text) if not _harmless(text, each[0])]
    if hidden:
        kinds = sorted({name for _, name in hidden})
        spelled = "".join(
            chr(ord(text[i]) - 0xE0000) for i, _ in hidden if 0xE0020 <= ord(text[i]) < 0xE007F
        )
        says = f"; they spell {spelled[:200]!a}" if spelled else ""
        add(
            TEMPLATE_HIDDEN_TEXT,
            hidden[0][0],
            f"{len(hidden)} letters can't be seen ({', '.join(kinds[:3])}){says}.",
        )
    for at, address in urls(text):
        add(TEMPLATE_URL, at, f"it holds the address {address[:100]!a}.")
    for at, what in blobs(text):
        add(TEMPLATE_BLOB, at, f"it holds {what}.")


def _harmless(text: str, index: int) -> bool:
    """A byte order mark at the start; joiners within emoji and within scripts that need them."""
    letter, before = text[index], text[index - 1 : index]
    if letter == "\ufeff":
        return index == 0
    return letter in "\u200c\u200d" and before > "\u0900" and not before.isspace()


def _check_attribute(lint: _Lint, node: Node) -> None:
    names = lint.names
    match node:
        case Node(kind="attr", value=str(word)) if _INSIDES.search(word) or word.startswith("__"):
            lint.add(TEMPLATE_ATTRIBUTE, node.at, f"it takes the attribute {word[:60]}.")
        case Node(kind="item", children=[_, *keys]):
            for key in keys:
                _check_name(lint, node, key)
        case Node(kind="filter", value=str(word), children=[_, *arguments]) if (
            word in _BY_ATTRIBUTE
        ):
            for each in arguments:
                _check_name(lint, node, each.children[0] if each.kind == "keyword" else each)
            if word == "attr":
                lint.add(
                    TEMPLATE_ATTRIBUTE, node.at, f"it uses the filter 'attr': {lint.shown(node)}."
                )
        case Node(kind="const" | "op" | "filter" | "call"):
            found = next(
                (
                    text
                    for text in fold(node, names)
                    if isinstance(text, str) and _INSIDES.search(text)
                ),
                None,
            )
            if found is not None and "__" in found:
                lint.add(
                    TEMPLATE_ATTRIBUTE,
                    node.at,
                    f"its text names the inside of an object: {found[:60]!a}.",
                )
        case Node(kind="name", value=str(word)) if word.startswith("__"):
            lint.add(TEMPLATE_ATTRIBUTE, node.at, f"it uses the name {word[:60]}.")
        case _:
            pass


def _check_name(lint: _Lint, node: Node, key: Node) -> None:
    """Check what a subscript or an attribute's name comes to; one built from pieces must be followed."""
    found = [text for text in fold(key, lint.names) if isinstance(text, str)]
    for text in found:
        if _INSIDES.search(text) or text.startswith("__"):
            lint.add(TEMPLATE_ATTRIBUTE, node.at, f"it takes the attribute {text[:60]!a}.")
    built = (key.kind == "op" and key.value in ("~", "+", "%")) or key.kind in ("filter", "call")
    if built and not found:
        pieces = [
            each.value
            for each in key.walk()
            if each.kind == "const" and isinstance(each.value, str)
        ]
        if any("_" in piece for piece in pieces):
            lint.add(
                TEMPLATE_ATTRIBUTE,
                node.at,
                f"it takes an attribute whose name is computed: {lint.shown(node)}.",
            )


def _check_import(lint: _Lint, node: Node) -> None:
    if node.kind in ("include", "import", "from", "extends"):
        lint.add(TEMPLATE_IMPORT, node.at, f"it has the tag '{node.kind}'.")
    elif node.kind == "name" and node.value in _HOST_NAMES and node.value not in lint.known:
        lint.add(TEMPLATE_IMPORT, node.at, f"it uses '{node.value}', which only some hosts have.")
    elif node.kind == "debug":
        lint.add(
            TEMPLATE_IMPORT,
            node.at,
            "it has the tag 'debug', which writes out all that the host knows.",
        )


def _range_size(lint: _Lint, node: Node) -> float | None:
    """How often a loop over `range` runs, at most; None where that hangs on the messages."""
    if node.kind != "call" or node.children[0].value != "range":
        return None
    values = [fold(each, lint.names) for each in node.children[1:4]]
    numbers = [
        [float(v) for v in each if isinstance(v, int | float) and not isinstance(v, bool)]
        for each in values
    ]
    if not numbers or not all(numbers):
        return None
    start = min(numbers[0]) if len(numbers) > 1 else 0.0
    stop = max(numbers[1]) if len(numbers) > 1 else max(numbers[0])
    step = min((abs(each) for each in numbers[2]), default=1.0) if len(numbers) > 2 else 1.0
    return abs(stop - start) / max(step, 1.0)


def _check_loop(lint: _Lint, node: Node) -> None:
    size = _range_size(lint, node)
    if size is not None and size > MAX_LOOP:
        lint.add(TEMPLATE_LOOP, node.at, f"a range of {size:.0f}.")
    if node.kind == "op" and node.value in ("*", "**"):
        values = [each for each in fold(node, lint.names) if isinstance(each, int | float)]
        parts = [each for child in node.children for each in fold(child, lint.names)]
        numbers = [
            each for each in parts if isinstance(each, int | float) and not isinstance(each, bool)
        ]
        if any(abs(each) > MAX_REPEAT for each in [*values, *numbers]):
            lint.add(
                TEMPLATE_LOOP,
                node.at,
                f"it multiplies to a great length or number: {lint.shown(node)}.",
            )
    if node.kind == "filter" and node.value in ("center", "indent", "batch", "slice", "wordwrap"):
        sizes = [each for child in node.children[1:] for each in fold(child, lint.names)]
        if any(isinstance(each, int | float) and each > MAX_REPEAT for each in sizes):
            lint.add(TEMPLATE_LOOP, node.at, f"it pads to a great length: {lint.shown(node)}.")
    if (
        node.kind == "const"
        and isinstance(node.value, str)
        and re.search(r"%[-+0 ]*\d{6,}|\{[^{}]*:[^{}]?[<>^]?\d{6,}", node.value)
    ):
        lint.add(TEMPLATE_LOOP, node.at, "it formats to a great length.")


def _check_nesting(lint: _Lint, node: Node, product: float, depth: int) -> None:
    """Multiply the sizes of ranges that are looped over within each other."""
    if node.kind == "for":
        size = _range_size(lint, node.children[1])
        product *= size or 1.0
        if size and product > MAX_NESTED_LOOPS:
            lint.add(
                TEMPLATE_LOOP, node.at, f"loops within each other that come to {product:.0f} turns."
            )
    for child in node.children:
        if child.children:
            _check_nesting(lint, child, product, depth + 1)


def _check_letters(lint: _Lint) -> None:
    """A word may be asked letter by letter; one letter alone is a quote or a bracket."""
    asked = [
        node
        for node in lint.tree.walk()
        if any(len(word) == 1 and word.isalnum() for word in _content_words(lint, node))
    ]
    if len(asked) > MAX_SINGLE_LETTERS:
        text = f"it compares what a message says letter by letter, {len(asked)} times."
        lint.add(TEMPLATE_CONTENT_BRANCH, asked[0].at, text)


def _check_compare(lint: _Lint, node: Node) -> None:
    is_key = node.value in ("in", "not in")
    for word in _content_words(lint, node):
        if not is_marker(word) and not (is_key and word in lint.keys):
            lint.add(
                TEMPLATE_CONTENT_BRANCH,
                node.at,
                f"it compares what a message says with {word[:80]!a}.",
            )
            return


def _content_words(lint: _Lint, node: Node) -> Iterator[str]:
    """Give the texts that a node compares a message's text with."""
    names, holds = lint.names, lint.flow.holds
    match node:
        case Node(kind="op", value=word, children=[left, right]) if word in _COMPARES:
            for one, other in ((left, right), (right, left)):
                if holds(one):
                    yield from constants(other, names)
        case Node(kind="test", value=str(word), children=[base, argument]) if (
            word.removeprefix("not ") in _TESTS
        ):
            if holds(base):
                yield from constants(argument, names)
            elif holds(argument):
                yield from constants(base, names)
        case Node(
            kind="call", children=[Node(kind="attr", value=word, children=[base]), *arguments]
        ) if word in _LOOKS:
            if holds(base):
                yield from _asked(lint, str(word), arguments)
        case Node(kind="item", children=[Node(kind="dict" | "name") as base, key]) if holds(key):
            yield from constants(base, names) if base.kind == "dict" or _is_dict(lint, base) else ()
        case Node(kind="filter", value=("select" | "reject"), children=[base, test, argument]) if (
            set(constants(test, names)) & _TESTS and holds(argument)
        ):
            yield from constants(base, names)
        case Node(
            kind="filter",
            value=("selectattr" | "rejectattr"),
            children=[_, attribute, _, value, *_],
        ):
            if any(
                text.split(".")[0] in ("content", "text") for text in constants(attribute, names)
            ):
                yield from constants(value, names)
        case _:
            return


def _asked(lint: _Lint, word: str, arguments: list[Node]) -> Iterator[str]:
    for each in arguments[:1]:
        for text in constants(each, lint.names):
            # Cutting and replacing is what templates do with marks; a word in there is a question.
            if word not in _MARK_ONLY or len(text.split()) > 1 or text.isalpha():
                yield text


def _is_dict(lint: _Lint, base: Node) -> bool:
    return any(each.kind == "dict" for each in lint.names.get(str(base.value)))


def _written(node: Node) -> Iterator[Node]:
    """Give the texts that a body writes, or puts into names; not those of errors that it raises."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if each.kind == "call" and each.children[0].value == "raise_exception":
            continue
        waiting.extend(reversed(each.children))
        if each.kind == "text" or (each.kind == "const" and isinstance(each.value, str)):
            yield each


def _check_branch(lint: _Lint, node: Node) -> None:
    if node.kind not in ("if", "if_expr") or not node.children:
        return
    test, *bodies = node.children
    sentence = next(
        (each for body in bodies for each in _written(body) if prose(str(each.value))), None
    )
    if sentence is None:
        return
    marked = next(
        (word for each in test.walk() for word in _content_words(lint, each) if word.strip()), None
    )
    if marked is not None:
        lint.add(
            TEMPLATE_CONTENT_BRANCH,
            node.at,
            f"where a message holds {marked[:40]!a}, it writes {str(sentence.value).strip()[:80]!a}.",
        )
    who = next((each for each in test.walk() if _asks_who(lint, each)), None)
    if who is not None:
        lint.add(
            TEMPLATE_INJECTION,
            node.at,
            f"for some requests only ({lint.shown(who)}), it writes {str(sentence.value).strip()[:80]!a}.",
        )


def _asks_who(lint: _Lint, node: Node) -> bool:
    """Whether a condition compares a date, a user or the like, or is left to chance."""
    if node.kind == "filter" and node.value == "random":
        return True
    compares = (node.kind == "op" and node.value in _COMPARES) or (
        node.kind == "call" and node.children[0].value in _LOOKS
    )
    if not compares:
        return False
    # A role is compared in each template; only names that stand alone, or end a chain, are asked.
    for side in node.children:
        for each in side.walk():
            if each.kind in ("name", "attr") and _WHO_AND_WHEN.search(str(each.value)):
                return True
    return False


def _check_comment(lint: _Lint, node: Node) -> None:
    if node.kind == "comment":
        found = instructs_a_reader(str(node.value))
        if found:
            lint.add(
                TEMPLATE_HIDDEN_TEXT, node.at, f"a comment addresses its reader: {found[0][:80]!a}."
            )


def _check_prompt(lint: _Lint) -> None:
    for node in _written(lint.tree):
        found = hides_instructions(str(node.value))
        if found:
            lint.add(TEMPLATE_SYSTEM_PROMPT, node.at, f"it tells the model: {found[0][:100]!a}.")
