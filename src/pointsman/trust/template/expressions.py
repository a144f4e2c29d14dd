"""Parses the expressions of a Jinja template to nodes.

Source: Jinja 3.1, src/jinja2/parser.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from msgspec import Struct

from pointsman.trust.formats.context import Fault
from pointsman.trust.template.lexer import Piece, Token

__all__ = ["MAX_DEPTH", "Node", "Tokens"]

# Each level of an expression is a dozen calls deep.
MAX_DEPTH = 40
# Of operators, or of dots and brackets, one after another: each is a level of the tree.
MAX_CHAIN = 150
_COMPARISONS = {"==", "!=", "<", ">", "<=", ">="}
_CONSTANTS = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "none": None,
    "None": None,
}


class Node(Struct):
    """A part of a template.

    `kind` is what it is: a tag's word, or text, comment, print, name, const, list, dict, pair, attr,
    item, slice, call, keyword, filter, test, op, not, if_expr, target, param, body. `value` is its word: an
    operator, an attribute's or filter's name, a constant. `at` is the letter's index.
    """

    kind: str
    at: int
    value: object = None
    children: list[Node] = []

    def walk(self) -> Iterator[Node]:
        """Give this node and all below it, in order, without recursion."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


class Tokens:
    """An expression's tokens; each level of Jinja's grammar is a method."""

    def __init__(self, piece: Piece, start: int = 0) -> None:
        self._tokens = piece.tokens
        self._turn = start
        self._end = piece.at + len(piece.text)
        self._depth = 0

    def at(self) -> int:
        """The index of the next token's first letter."""
        return self._tokens[self._turn].at if self._turn < len(self._tokens) else self._end

    def text(self, ahead: int = 0) -> str:
        """The next token as written; a string, which is never an operator, gives nothing."""
        place = self._turn + ahead
        if place >= len(self._tokens) or self._tokens[place].kind == "string":
            return ""
        return self._tokens[place].text

    def kind(self) -> str:
        """The next token's kind, or nothing at the end."""
        return self._tokens[self._turn].kind if self._turn < len(self._tokens) else ""

    def next(self) -> Token:
        """Take the next token.

        Raises:
            Fault: there is none.
        """
        if self._turn >= len(self._tokens):
            raise Fault("an expression breaks off", self._end)
        self._turn += 1
        return self._tokens[self._turn - 1]

    def take(self, *texts: str) -> str | None:
        """Take the next token if it is one of these."""
        if self.text() in texts and self.text():
            return self.next().text
        return None

    def need(self, text: str) -> None:
        """Take the next token, which must be this.

        Raises:
            Fault: it is another.
        """
        if not self.take(text):
            raise Fault(f"'{text}' is missing", self.at())

    def finish(self) -> None:
        """Check that all tokens are taken.

        Raises:
            Fault: one is left.
        """
        if self._turn < len(self._tokens):
            raise Fault(f"{self._tokens[self._turn].text[:40]!a} is one token too many", self.at())

    def loose(self) -> list[Node]:
        """Read a head whose words are its own: its expressions, whatever stands between them."""
        found = []
        while self._turn < len(self._tokens):
            if not self.take(
                ",",
                "=",
                "as",
                "import",
                "with",
                "without",
                "ignore",
                "missing",
                "context",
                "scoped",
                "required",
            ):
                found.append(self.expression())
        return found

    def signature(self) -> list[Node]:
        """Read a macro's head: its name and parameters as `param`, each default below its own."""
        found = [Node("param", self.at(), self.next().text)]
        return [*found, *self.parameters()]

    def parameters(self) -> list[Node]:
        """Read parameters in brackets."""
        found: list[Node] = []
        self.need("(")
        while not self.take(")"):
            if found:
                self.need(",")
                if self.take(")"):
                    break
            param = Node("param", self.at(), self.next().text)
            if self.take("="):
                param.children = [self.expression()]
            found.append(param)
        return found

    def filter_chain(self) -> Node:
        """Read the head of a filter block: filters, applied to what the block holds."""
        node = Node("filter", self.at(), self._dotted(), [])
        if self.take("("):
            node.children = self._arguments()
        return self._filters(node)

    def expression(
        self, *, tuples: bool = False, tests: bool = True, inline_if: bool = True
    ) -> Node:
        """Read an expression; with `tuples` commas may make it one, without `tests` it is a target.

        Raises:
            Fault: it is none.
        """
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Fault(f"an expression is nested over {MAX_DEPTH} deep", self.at())
        at = self.at()
        first = self._conditional(inline_if) if tests else self._primary_with_postfix()
        if tuples and self.text() == ",":
            items = [first]
            while self.take(","):
                if not self._ends_tuple():
                    items.append(
                        self._conditional(inline_if) if tests else self._primary_with_postfix()
                    )
            first = Node("list", at, "tuple", items)
        self._depth -= 1
        return first

    def _ends_tuple(self) -> bool:
        return self._turn >= len(self._tokens) or self.text() in (")", "=", "in")

    def _conditional(self, inline_if: bool) -> Node:
        node = self._or()
        links = 0
        while inline_if and self.text() == "if":
            at = self.next().at
            links = self._link(links)
            test = self._or()
            children = [test, node]
            if self.take("else"):
                children.append(self.expression())
            node = Node("if_expr", at, None, children)
        return node

    def _left(self, operators: tuple[str, ...], below: str) -> Node:
        part = getattr(self, below)
        node: Node = part()
        links = 0
        while self.text() in operators and self.text():
            token = self.next()
            links = self._link(links)
            node = Node("op", token.at, token.text, [node, part()])
        return node

    def _or(self) -> Node:
        return self._left(("or",), "_and")

    def _and(self) -> Node:
        return self._left(("and",), "_not")

    def _not(self) -> Node:
        if self.text() == "not":
            at = self.next().at
            self._deeper()
            node = Node("not", at, None, [self._not()])
            self._depth -= 1
            return node
        return self._compare()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Fault(f"an expression is nested over {MAX_DEPTH} deep", self.at())

    def _link(self, links: int) -> int:
        if links >= MAX_CHAIN:
            raise Fault(f"an expression has over {MAX_CHAIN} parts in a row", self.at())
        return links + 1

    def _compare(self) -> Node:
        node = self._sum()
        links = 0
        while True:
            links = self._link(links)
            at, word = self.at(), self.text()
            if word in _COMPARISONS or word == "in":
                self.next()
            elif word == "not" and self.text(1) == "in":
                self.next()
                self.next()
                word = "not in"
            else:
                return node
            node = Node("op", at, word, [node, self._sum()])

    def _sum(self) -> Node:
        return self._left(("+", "-"), "_concat")

    def _concat(self) -> Node:
        return self._left(("~",), "_product")

    def _product(self) -> Node:
        return self._left(("*", "/", "//", "%"), "_power")

    def _power(self) -> Node:
        return self._left(("**",), "_unary")

    def _unary(self, with_filter: bool = True) -> Node:
        token = self.text()
        if token in ("-", "+"):
            at = self.next().at
            self._deeper()
            node = Node("op", at, f"unary {token}", [self._unary(False)])
            self._depth -= 1
        else:
            node = self._primary()
        node = self._postfix(node)
        return self._filters(node) if with_filter else node

    def _primary_with_postfix(self) -> Node:
        return self._postfix(self._primary())

    def _primary(self) -> Node:
        token = self.next()
        match token.kind, token.text:
            case "name", word if word in _CONSTANTS:
                return Node("const", token.at, _CONSTANTS[word])
            case "name", word:
                return Node("name", token.at, word)
            case "string", _:
                return self._string(token)
            case (("int" | "float"), text):
                return Node("const", token.at, _number(text, token.at))
            case "op", "(":
                if self.take(")"):
                    return Node("list", token.at, "tuple")
                node = self.expression(tuples=True)
                self.need(")")
                return node
            case "op", "[":
                return Node("list", token.at, "list", self._items("]"))
            case "op", "{":
                return self._dict(token)
        raise Fault(f"{token.text[:40]!a} is no expression", token.at)

    def _string(self, token: Token) -> Node:
        texts = [_unquoted(token)]
        while self.kind() == "string":
            texts.append(_unquoted(self.next()))
        return Node("const", token.at, "".join(texts))

    def _items(self, close: str) -> list[Node]:
        items: list[Node] = []
        while not self.take(close):
            if items:
                self.need(",")
                if self.take(close):
                    break
            items.append(self.expression())
        return items

    def _dict(self, token: Token) -> Node:
        node = Node("dict", token.at)
        while not self.take("}"):
            if node.children:
                self.need(",")
                if self.take("}"):
                    break
            at, key = self.at(), self.expression()
            self.need(":")
            node.children.append(Node("pair", at, None, [key, self.expression()]))
        return node

    def _postfix(self, node: Node) -> Node:
        links = 0
        while self.text() in (".", "[", "("):
            token = self.next()
            links = self._link(links)
            if token.text == ".":
                name = self.next()
                if name.kind not in ("name", "int"):
                    raise Fault(f"{name.text[:40]!a} is no attribute", name.at)
                if name.kind == "int":
                    node = Node(
                        "item",
                        token.at,
                        None,
                        [node, Node("const", name.at, _number(name.text, name.at))],
                    )
                else:
                    node = Node("attr", token.at, name.text, [node])
            elif token.text == "[":
                node = Node("item", token.at, None, [node, *self._subscript()])
            else:
                node = Node("call", token.at, None, [node, *self._arguments()])
        return node

    def _subscript(self) -> list[Node]:
        parts: list[Node] = []
        at, colons = self.at(), False
        while not self.take("]"):
            if self.take(":", ","):
                colons = True
            else:
                parts.append(self.expression())
        return [Node("slice", at, None, parts)] if colons else parts

    def _arguments(self) -> list[Node]:
        found: list[Node] = []
        while not self.take(")"):
            if found:
                self.need(",")
                if self.take(")"):
                    break
            at = self.at()
            if star := self.take("*", "**"):
                found.append(Node("keyword", at, star, [self.expression()]))
            elif self.kind() == "name" and self.text(1) == "=":
                name = self.next().text
                self.next()
                found.append(Node("keyword", at, name, [self.expression()]))
            else:
                found.append(self.expression())
        return found

    def _filters(self, node: Node) -> Node:
        links = 0
        while True:
            links = self._link(links)
            if self.text() == "|":
                token = self.next()
                node = Node("filter", token.at, self._dotted(), [node])
            elif self.text() == "is":
                token = self.next()
                word = "not " if self.take("not") else ""
                node = Node("test", token.at, word + self._dotted(), [node])
                if self._begins_argument():
                    node.children.append(self._primary_with_postfix())
            elif self.text() == "(":
                self.next()
                node = Node("call", self.at(), None, [node, *self._arguments()])
                continue
            else:
                return node
            if self.text() == "(":
                self.next()
                node.children.extend(self._arguments())

    def _dotted(self) -> str:
        words = [self.next().text]
        while self.text() == ".":
            self.next()
            words.append(self.next().text)
        return ".".join(words)

    def _begins_argument(self) -> bool:
        """Whether a test's argument follows without brackets; as Jinja, any name but three words."""
        if self.text() == "is":
            raise Fault("tests cannot be chained", self.at())
        if self.kind() in ("string", "int", "float", "name"):
            return self.text() not in ("else", "or", "and")
        return self.text() in ("[", "{")


def _unquoted(token: Token) -> str:
    # As Jinja: what is not ASCII stays, escapes are Python's.
    text = token.text[1:-1]
    try:
        return text.encode("ascii", "backslashreplace").decode("unicode-escape")
    except (UnicodeDecodeError, ValueError) as error:
        raise Fault("a string has a broken escape", token.at) from error


def _number(text: str, at: int) -> object:
    if len(text) > 400:
        raise Fault("a number has over 400 digits", at)
    try:
        return ast.literal_eval(text.lstrip("0_") or "0" if text.isdigit() else text)
    except (ValueError, SyntaxError) as error:
        raise Fault(f"{text[:40]!a} is no number", at) from error
