"""Walks pickles opcode by opcode on an abstract stack; nothing is ever imported, made or called.

The walk follows the interpreter rather than the format: what breaks only Python's own rules (an empty
stack, an unknown memo entry) is walked through as "unknown", since a payload may come after; what
breaks the reading of opcodes ends it, and the rest is searched for tell-tale names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec import Struct, field

from pointsman.trust.formats.context import Fault, Scan
from pointsman.trust.formats.cursor import Cursor
from pointsman.trust.formats.opcodes import OPCODES, Opcode
from pointsman.trust.formats.pickle_names import DANGEROUS_MODULES, is_allowed, is_dangerous
from pointsman.trust.formats.source import Source
from pointsman.trust.rules.pickles import (
    PICKLE_BROKEN,
    PICKLE_CODE,
    PICKLE_COMPUTED_IMPORT,
    PICKLE_DISGUISED,
    PICKLE_FILE,
    PICKLE_IMPORT,
    PICKLE_MODULE_STATE,
)

__all__ = ["Walk", "check_pickle", "probe_pickle", "walk_pickles"]

MAX_LINE_BYTES = 64 * 1024
KEPT_TEXT = 1_024
MAX_STACK = 4_000_000
PROBE_OPCODES = 20_000
SEARCHED_BYTES = 64 * 1024 * 1024
_FIXED = {"u1": 1, "u2": 2, "u4": 4, "u8": 8, "f8": 8}
_PREFIX = {"text1": 1, "text4": 4, "text8": 8, "bytes1": 1, "bytes4": 4, "bytes8": 8, "signed4": 4}
_TEXTS = {
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
}
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]*\Z")


class _Import(NamedTuple):
    module: str
    name: str


class _Made(NamedTuple):
    """What calling an import gave."""

    by: _Import | None


_MARK = object()
_Value = object


class Walk(Struct):
    """What a walk saw. Offsets count from the start of the source.

    `imports` are (module, name, offset); `calls` counts opcodes that call one; `end` is where it
    stopped; `fault` says why, where that was not the end of the bytes or of what is a pickle.
    """

    imports: list[tuple[str, str, int]] = field(default_factory=list)
    computed: list[int] = field(default_factory=list)
    module_state: list[tuple[str, int]] = field(default_factory=list)
    odd_calls: list[int] = field(default_factory=list)
    calls: int = 0
    opcodes: int = 0
    pickles: int = 0
    begun: bool = False
    end: int = 0
    fault: str | None = None
    cut: bool = False


class _Machine:
    """The abstract stack and memo of one pickle."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.stack: list[_Value] = []
        self.memo: dict[int, _Value] = {}

    def pop(self) -> _Value:
        return self.stack.pop() if self.stack else None

    def top(self) -> _Value:
        return self.stack[-1] if self.stack else None

    def pop_mark(self) -> list[_Value]:
        """Take all above the last mark, and the mark."""
        items: list[_Value] = []
        while self.stack:
            item = self.stack.pop()
            if item is _MARK:
                break
            items.append(item)
        items.reverse()
        return items

    def imported(self, module: object, name: object, at: int) -> None:
        if isinstance(module, str) and isinstance(name, str):
            self.walk.imports.append((module, name, at))
            self.stack.append(_Import(module, name))
        else:
            self.walk.computed.append(at)
            self.stack.append(None)

    def called(self, what: _Value, at: int) -> None:
        if isinstance(what, _Import):
            self.walk.calls += 1
            self.stack.append(_Made(what))
            return
        self.walk.odd_calls.append(at)
        self.stack.append(_Made(None))

    def changed(self, what: _Value, at: int) -> None:
        if isinstance(what, _Import):
            self.walk.module_state.append((f"{what.module}.{what.name}", at))

    def step(self, op: str, value: object, at: int) -> None:
        """Do what an opcode does to the stack and the memo."""
        match op:
            case "MARK":
                self.stack.append(_MARK)
            case "POP":
                self.pop()
            case "POP_MARK":
                self.pop_mark()
            case "DUP":
                self.stack.append(self.top())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._put(value)
            case "MEMOIZE":
                self._put(len(self.memo))
            case "GET" | "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo.get(value) if isinstance(value, int) else None)
            case "GLOBAL":
                self.imported(*_pair(value), at)
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                self.imported(module, name, at)
            case "EXT1" | "EXT2" | "EXT4":
                self.imported(None, None, at)
            case _:
                self._rest(op, value, at)

    def _put(self, number: object) -> None:
        if isinstance(number, int) and len(self.memo) < MAX_STACK:
            self.memo[number] = self.top()

    def _rest(self, op: str, value: object, at: int) -> None:
        match op:
            case "REDUCE" | "NEWOBJ":
                self.pop()
                self.called(self.pop(), at)
            case "NEWOBJ_EX":
                self.pop()
                self.pop()
                self.called(self.pop(), at)
            case "INST":
                self.pop_mark()
                self.imported(*_pair(value), at)
                self.called(self.pop(), at)
            case "OBJ":
                items = self.pop_mark()
                self.called(items[0] if items else None, at)
            case "BUILD" | "APPEND":
                self.pop()
                self.changed(self.top(), at)
            case "SETITEM":
                self.pop()
                self.pop()
                self.changed(self.top(), at)
            case "SETITEMS" | "APPENDS" | "ADDITEMS":
                self.pop_mark()
                self.changed(self.top(), at)
            case "LIST" | "TUPLE" | "DICT" | "FROZENSET":
                self.pop_mark()
                self.stack.append(None)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                for _ in range(int(op[-1])):
                    self.pop()
                self.stack.append(None)
            case "BINPERSID":
                self.pop()
                self.stack.append(None)
            case "PROTO" | "FRAME" | "STOP" | "READONLY_BUFFER":
                pass
            case _:
                self.stack.append(value if op in _TEXTS else None)


def _pair(value: object) -> tuple[object, object]:
    return value if isinstance(value, tuple) else (None, None)


def _argument(cursor: Cursor, op: Opcode) -> object:
    """Read an opcode's argument: numbers and short texts are kept, the rest is passed over."""
    kind = op.argument
    if kind == "none":
        return None
    if kind in _FIXED:
        return int.from_bytes(cursor.take(_FIXED[kind], op.name), "little")
    if kind == "line":
        return _line_value(op.name, _line(cursor, op.name))
    if kind == "lines":
        return _line(cursor, op.name), _line(cursor, op.name)
    length = int.from_bytes(cursor.take(_PREFIX[kind], op.name), "little")
    if (kind == "signed4" or op.name == "LONG4") and length >= 1 << 31:
        raise Fault(f"{op.name} has a negative length", cursor.position)
    if length > KEPT_TEXT or kind.startswith("bytes"):
        cursor.skip(length, op.name)
        return "" if op.name in _TEXTS else None
    return cursor.take(length, op.name).decode("utf-8", "surrogateescape")


def _line(cursor: Cursor, what: str) -> str:
    pieces = bytearray()
    while True:
        byte = cursor.take(1, what)
        if byte == b"\n":
            return pieces.decode("utf-8", "surrogateescape")
        pieces += byte
        if len(pieces) > MAX_LINE_BYTES:
            raise Fault(f"{what} has a line of over {MAX_LINE_BYTES} bytes", cursor.position)


def _line_value(name: str, line: str) -> object:
    if name in ("GET", "PUT"):
        try:
            return int(line[:20])
        except ValueError:
            return None
    if name == "STRING":
        text = line.strip()
        inner = text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text
        return _unescaped(inner, "unicode_escape")
    if name == "UNICODE":
        return _unescaped(line, "raw_unicode_escape")
    return None


def _unescaped(text: str, codec: str) -> str:
    try:
        return text.encode("latin-1", "backslashreplace").decode(codec)
    except (UnicodeDecodeError, ValueError):
        return text


def walk_pickles(source: Source, *, max_opcodes: int, start: int = 0) -> Walk:
    """Walk the pickles that follow one another from `start`; give what was seen.

    Each is walked to its STOP; PyTorch's oldest form has five. The walk ends, without a fault, at bytes
    that begin no pickle.
    """
    walk = Walk(end=start)
    cursor = Cursor(source, start)
    while cursor.left > 0 and not walk.cut:
        begin, before = cursor.position, walk.opcodes
        try:
            _walk_one(cursor, walk, max_opcodes)
        except Fault as fault:
            # After a STOP, bytes that fail at once are the raw data that follows a pickle.
            if walk.pickles and walk.opcodes - before < 2:
                walk.end = begin
                return walk
            walk.fault = f"{fault.message} (byte {cursor.position})"
            walk.end = cursor.position
            return walk
        walk.pickles += 1
        walk.end = cursor.position
    return walk


def _walk_one(cursor: Cursor, walk: Walk, max_opcodes: int) -> None:
    machine = _Machine(walk)
    first = True
    while True:
        at = cursor.position
        code = cursor.take(1, "an opcode")[0]
        op = OPCODES.get(code)
        if op is None:
            raise Fault(f"0x{code:02x} is no opcode", at)
        value = _argument(cursor, op)
        walk.opcodes += 1
        if first and op.name == "PROTO" and isinstance(value, int):
            walk.begun = True
            if value > 5:
                # Every interpreter stops here, so nothing after it runs.
                raise Fault(f"its protocol is {value}", at)
        first = False
        machine.step(op.name, value, at)
        if op.name == "STOP":
            return
        if walk.opcodes >= max_opcodes or len(machine.stack) > MAX_STACK:
            walk.cut = True
            return


def probe_pickle(source: Source) -> Walk | None:
    """Give a short walk of what may be a pickle, whatever it looks like; None where it is none.

    It is one if it begins with PROTO and goes on in order, or if it imports or calls anything. Opcodes
    that only make plain values can do no harm, and much text begins like that.
    """
    walk = walk_pickles(source, max_opcodes=PROBE_OPCODES)
    named = [each for each in walk.imports if all(_IDENTIFIER.match(part) for part in each[:2])]
    acts = bool(walk.calls or walk.module_state)
    if walk.begun and (walk.opcodes > 2 or walk.imports or walk.pickles):
        return walk
    if named and (acts or walk.pickles):
        return walk
    return walk if walk.computed and (walk.pickles or walk.odd_calls) and named else None


def check_pickle(source: Source, scan: Scan, *, disguised_as: str | None = None) -> Walk:
    """Report what a pickle does; one `disguised_as` another format is reported as that first."""
    path = source.name
    walk = walk_pickles(source, max_opcodes=min(scan.limits.opcodes, scan.opcodes_left()))
    scan.opcodes += walk.opcodes
    scan.pickles.append(path)
    if disguised_as:
        scan.add(
            PICKLE_DISGUISED,
            path,
            f"It begins as {disguised_as}, and is a pickle that imports {_names(walk)}.",
        )
    else:
        scan.add(
            PICKLE_FILE,
            path,
            f"It is a pickle: {walk.opcodes} opcodes, {len(walk.imports)} imports.",
        )
    _report_imports(walk, path, scan)
    for at in walk.computed:
        scan.add(
            PICKLE_COMPUTED_IMPORT,
            path,
            "It imports a name that is computed while loading.",
            offset=at,
        )
    for name, at in walk.module_state:
        scan.add(PICKLE_MODULE_STATE, path, f"It sets attributes of {name} itself.", offset=at)
    for at in walk.odd_calls:
        scan.add(PICKLE_IMPORT, path, "It calls what another call or the loader gave.", offset=at)
    if walk.cut:
        scan.cannot_check(path, f"the pickle goes on after {walk.opcodes} opcodes")
    if walk.fault:
        _report_break(source, walk, scan)
    return walk


def _names(walk: Walk) -> str:
    return (
        ", ".join(f"{module}.{name}"[:80] for module, name, _ in walk.imports[:3])
        or "a computed name"
    )


def _report_imports(walk: Walk, path: str, scan: Scan) -> None:
    seen: set[tuple[str, str]] = set()
    for module, name, at in walk.imports:
        if (module, name) in seen or is_allowed(module, name):
            continue
        seen.add((module, name))
        shown = f"{module}.{name}"[:200]
        shown = shown if shown.isprintable() else ascii(shown)
        if is_dangerous(module, name):
            scan.add(
                PICKLE_CODE,
                path,
                f"It imports {shown}, which runs code or reaches into objects.",
                offset=at,
            )
        else:
            scan.add(
                PICKLE_IMPORT, path, f"It imports {shown}, which weights don't need.", offset=at
            )


def _report_break(source: Source, walk: Walk, scan: Scan) -> None:
    path = source.name
    arrays = any(name == "NumpyArrayWrapper" for _, name, _ in walk.imports)
    if arrays:
        # joblib writes an array's bytes into the middle of the pickle.
        scan.cannot_check(
            path, f"joblib's array data begins about byte {walk.end}; the pickle goes on after it"
        )
    else:
        scan.add(
            PICKLE_BROKEN,
            path,
            f"The pickle breaks off: {walk.fault}. What came before has run by then.",
            offset=walk.end,
        )
    rest = source.window(path, walk.end, source.size)
    found: set[bytes] = set()
    for base, piece in rest.chunks(limit=SEARCHED_BYTES, overlap=64):
        for match in _TELL_TALE.finditer(piece):
            if match[0] not in found:
                found.add(match[0])
                scan.add(
                    PICKLE_CODE,
                    path,
                    f"After the break it names {match[0].strip().decode('latin-1')!a}.",
                    offset=walk.end + base + match.start(),
                )
    if rest.size > SEARCHED_BYTES:
        scan.cannot_check(path, f"{rest.size} bytes follow the break")


def _tell_tale() -> re.Pattern[bytes]:
    """The ways in which an opcode names a dangerous module."""
    forms = []
    for name in DANGEROUS_MODULES:
        raw = name.encode()
        forms.append(b"[ci]" + re.escape(raw) + rb"(?:\.\w+)?\n\w+\n")
        forms.append(re.escape(bytes([0x8C, len(raw)]) + raw) + rb"[\x8c\x94hq]")
        forms.append(re.escape(b"X" + len(raw).to_bytes(4, "little") + raw))
    return re.compile(b"|".join(forms))


_TELL_TALE = _tell_tale()
