"""Jinja's own tree and ours, each as the list of what occurs in it."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from jinja2 import Environment, nodes
from jinja2.ext import Extension

from pointsman.trust.template.parser import Node, parse_template

OPERATORS = {
    nodes.Add: "+", nodes.Sub: "-", nodes.Mul: "*", nodes.Div: "/", nodes.FloorDiv: "//",
    nodes.Mod: "%", nodes.Pow: "**", nodes.And: "and", nodes.Or: "or", nodes.Neg: "unary -",
    nodes.Pos: "unary +",
}  # fmt: skip
COMPARISONS = {
    "eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<=", "in": "in", "notin": "not in",
}  # fmt: skip


class Generation(Extension):
    """The tag that trainers add to mark what a model says."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


ENVIRONMENT = Environment(extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do", Generation])


def ours(source: str) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for node in parse_template(source).walk():
        match node:
            case Node(kind="name" | "attr" | "filter", value=value):
                found[node.kind, str(value)] += 1
            case Node(kind="call_block", children=rest):
                found.update(("name", str(each.value)) for each in rest if each.kind == "param")
            case Node(kind="macro", children=[_, *rest]):
                found.update(("name", str(each.value)) for each in rest if each.kind == "param")
            case Node(kind="test", value=str(value)):
                found["test", value.removeprefix("not ")] += 1
            case Node(kind="const", value=value):
                found["const", repr(value)] += 1
            case Node(kind="op", value=value):
                found["op", str(value)] += 1
            case Node(kind="item" | "call" | "dict" | "slice" | "for" | "if" | "if_expr"):
                found[node.kind, ""] += 1
            case _:
                pass
    return found


def theirs(source: str) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()

    def visit(node: nodes.Node) -> None:
        match node:
            case nodes.Name() | nodes.NSRef():
                if isinstance(node, nodes.NSRef):
                    found["attr", node.attr] += 1
                found["name", node.name] += 1
            case nodes.Getattr():
                found["attr", node.attr] += 1
            case nodes.Getitem():
                found["item", ""] += 1
            case nodes.Slice():
                found["slice", ""] += 1
            case nodes.Filter():
                found["filter", node.name] += 1
            case nodes.Test():
                found["test", node.name] += 1
            case nodes.Const():
                found["const", repr(node.value)] += 1
            case nodes.Concat():
                found["op", "~"] += len(node.nodes) - 1
            case nodes.Operand():
                found["op", COMPARISONS[node.op]] += 1
            case nodes.Call():
                found["call", ""] += 1
            case nodes.Dict():
                found["dict", ""] += 1
            case nodes.For():
                found["for", ""] += 1
            case nodes.If():
                found["if", ""] += 1
            case nodes.CondExpr():
                found["if_expr", ""] += 1
            case nodes.BinExpr() | nodes.UnaryExpr() if type(node) in OPERATORS:
                found["op", OPERATORS[type(node)]] += 1
            case _:
                pass
        for child in node.iter_child_nodes():
            visit(child)

    visit(ENVIRONMENT.parse(source))
    return found
