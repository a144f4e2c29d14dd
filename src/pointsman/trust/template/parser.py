"""Parses a Jinja template to a tree; nothing is compiled or rendered.

A parser of our own, so that templates are checked with nothing installed, and so that each limit is
ours. It takes what Jinja takes, with the extensions that chat templates use (`loopcontrols`, `do`,
`generation`); tests compare it with Jinja's own.

Source: Jinja 3.1, src/jinja2/parser.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from pointsman.trust.formats.context import Fault
from pointsman.trust.template.expressions import MAX_DEPTH, Node, Tokens
from pointsman.trust.template.lexer import Piece, lex

__all__ = ["Node", "parse_template"]

# Tags that end with `end…` and hold others; the words that part their bodies.
_BLOCKS = {
    "if": ("elif", "else"), "for": ("else",), "macro": (), "call": (), "filter": (), "with": (),
    "block": (), "autoescape": (), "generation": (), "trans": ("pluralize",),
}  # fmt: skip
_FLAT = {"include", "import", "from", "extends", "do", "break", "continue", "debug"}


def parse_template(source: str) -> Node:
    """Give a template's tree: a `body`.

    Raises:
        Fault: it is no Jinja that is known here; the offset is the letter's index.
    """
    parser = _Blocks(lex(source))
    body = parser.body((), 0)
    if parser.more():
        piece = parser.peek()
        raise Fault(f"'{piece.tokens[0].text if piece.tokens else ''}' closes nothing", piece.at)
    return body


class _Blocks:
    """Puts pieces together to bodies."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._turn = 0

    def more(self) -> bool:
        return self._turn < len(self._pieces)

    def peek(self) -> Piece:
        return self._pieces[self._turn]

    def body(self, ends: Sequence[str], depth: int) -> Node:
        """Read up to a block that begins with one of `ends`, which is left for the caller."""
        if depth > MAX_DEPTH:
            raise Fault(
                f"its blocks are nested over {MAX_DEPTH} deep", self.peek().at if self.more() else 0
            )
        body = Node("body", self.peek().at if self.more() else 0)
        while self.more():
            piece = self.peek()
            if piece.kind == "block" and self._word(piece) in ends:
                return body
            if piece.kind == "block" and self._word(piece).startswith("end"):
                return body
            self._turn += 1
            if piece.kind in ("text", "comment"):
                body.children.append(Node(piece.kind, piece.at, piece.text))
            elif piece.kind == "print":
                tokens = Tokens(piece)
                value = tokens.expression(tuples=True)
                tokens.finish()
                body.children.append(Node("print", piece.at, None, [value]))
            else:
                body.children.append(self._block(piece, depth))
        if ends:
            raise Fault(f"a block is not closed by '{ends[-1]}'", self._pieces[-1].at)
        return body

    def _word(self, piece: Piece) -> str:
        return piece.tokens[0].text if piece.tokens else ""

    def _block(self, piece: Piece, depth: int) -> Node:
        word = self._word(piece)
        tokens = Tokens(piece, 1)
        if word == "set":
            return self._set(piece, tokens, depth)
        if word in _FLAT:
            node = Node(word, piece.at, None, tokens.loose())
            return node
        if word not in _BLOCKS:
            raise Fault(f"the tag '{word[:40]}' is not known", piece.at)
        node = Node(f"{word}_block" if word in ("filter", "call") else word, piece.at)
        node.children.extend(_head(word, tokens))
        return self._bodies(node, word, depth)

    def _bodies(self, node: Node, word: str, depth: int) -> Node:
        ends = (*_BLOCKS[word], f"end{word}")
        while True:
            node.children.append(self.body(ends, depth + 1))
            if not self.more():
                raise Fault(f"'{word}' is not closed", node.at)
            piece = self.peek()
            self._turn += 1
            found = self._word(piece)
            if found == f"end{word}":
                return node
            if found not in _BLOCKS[word]:
                raise Fault(f"'{found[:40]}' stands where 'end{word}' should", piece.at)
            if found == "elif":
                tokens = Tokens(piece, 1)
                test = tokens.expression(tuples=True)
                tokens.finish()
                inner = Node("if", piece.at, None, [test])
                node.children.append(self._bodies(inner, "if", depth + 1))
                return node

    def _set(self, piece: Piece, tokens: Tokens, depth: int) -> Node:
        target = tokens.expression(tuples=True, tests=False)
        if tokens.take("="):
            value = tokens.expression(tuples=True)
            tokens.finish()
            return Node("set", piece.at, None, [target, value])
        tokens.finish()
        node = Node("set", piece.at, None, [target, self.body(("endset",), depth + 1)])
        if not self.more():
            raise Fault("'set' is not closed", piece.at)
        self._turn += 1
        return node


def _head(word: str, tokens: Tokens) -> list[Node]:
    """Read what follows a block's word."""
    if word == "for":
        target = Node("target", tokens.at(), None, [tokens.expression(tuples=True, tests=False)])
        tokens.need("in")
        found = [target, tokens.expression(tuples=True, inline_if=False)]
        if tokens.take("if"):
            found.append(Node("loop_if", tokens.at(), None, [tokens.expression()]))
        tokens.take("recursive")
    elif word == "if":
        found = [tokens.expression(tuples=True)]
    elif word == "macro":
        found = tokens.signature()
    elif word == "call":
        found = tokens.parameters() if tokens.text() == "(" else []
        found.append(tokens.expression())
    elif word == "filter":
        found = [tokens.filter_chain()]
    else:
        return tokens.loose()
    tokens.finish()
    return found
