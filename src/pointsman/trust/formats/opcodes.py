"""Pickle's opcodes as the interpreter reads them: how long each one's argument is.

Source: CPython 3.14, Lib/pickletools.py and Modules/_pickle.c; protocols 0 to 5.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["OPCODES", "Opcode"]

Argument = Literal[
    "none", "u1", "u2", "u4", "u8", "f8", "line", "lines", "text1", "text4", "text8", "bytes1",
    "bytes4", "bytes8", "signed4",
]  # fmt: skip


class Opcode(NamedTuple):
    """An opcode's name, and what follows it: a number, a line, or bytes after their length."""

    name: str
    argument: Argument


def _table() -> dict[int, Opcode]:
    rows = """
    ( MARK none; . STOP none; 0 POP none; 1 POP_MARK none; 2 DUP none; F FLOAT line; I INT line;
    J BININT u4; K BININT1 u1; L LONG line; M BININT2 u2; N NONE none; P PERSID line;
    Q BINPERSID none; R REDUCE none; S STRING line; T BINSTRING signed4; U SHORT_BINSTRING text1;
    V UNICODE line; X BINUNICODE text4; a APPEND none; b BUILD none; c GLOBAL lines; d DICT none;
    } EMPTY_DICT none; e APPENDS none; g GET line; h BINGET u1; i INST lines; j LONG_BINGET u4;
    l LIST none; ] EMPTY_LIST none; o OBJ none; p PUT line; q BINPUT u1; r LONG_BINPUT u4;
    s SETITEM none; t TUPLE none; ) EMPTY_TUPLE none; u SETITEMS none; G BINFLOAT f8;
    80 PROTO u1; 81 NEWOBJ none; 82 EXT1 u1; 83 EXT2 u2; 84 EXT4 u4; 85 TUPLE1 none;
    86 TUPLE2 none; 87 TUPLE3 none; 88 NEWTRUE none; 89 NEWFALSE none; 8a LONG1 bytes1;
    8b LONG4 bytes4; B BINBYTES bytes4; C SHORT_BINBYTES bytes1; 8c SHORT_BINUNICODE text1;
    8d BINUNICODE8 text8; 8e BINBYTES8 bytes8; 8f EMPTY_SET none; 90 ADDITEMS none;
    91 FROZENSET none; 92 NEWOBJ_EX none; 93 STACK_GLOBAL none; 94 MEMOIZE none; 95 FRAME u8;
    96 BYTEARRAY8 bytes8; 97 NEXT_BUFFER none; 98 READONLY_BUFFER none
    """
    table: dict[int, Opcode] = {}
    for row in rows.replace(";", "\n").splitlines():
        if row.strip():
            code, name, argument = row.split()
            number = ord(code) if len(code) == 1 else int(code, 16)
            table[number] = Opcode(name, argument)  # type: ignore[arg-type]
    return table


OPCODES = _table()
