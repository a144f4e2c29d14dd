"""Reads the signs in single pieces of an agent's run: a fault, a test's result, what a tool does.

Texts are looked at in bounded pieces, by their beginning and end, and a word alone is no proof: a
search that lists lines with "error" in them has not failed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, TypeAlias

__all__ = [
    "Deed",
    "Fault",
    "TestState",
    "deed_of",
    "fault_of",
    "is_correction",
    "is_summary",
    "tests_of",
]

Fault: TypeAlias = Literal["none", "mild", "severe"]
Deed: TypeAlias = Literal["read", "write", "test", "think", "unknown"]
TestState: TypeAlias = Literal["none", "pass", "fail"]

HEAD_CHARS, TAIL_CHARS = 240, 160
SHELL_CHARS = 400
SAID_CHARS = 160

_MILD = re.compile(
    r"""[^\w{"]{0,4}(?:error|exception|failed|failure|invalid|not\ found|unknown|no\ such|cannot|could\ not
        |unable\ to|rejected|denied|fatal|usage:)\b
        |<(?:tool_use_)?error>
        |\{\s*"(?:error|errors|err|exception)"\s*:(?!\s*(?:null|false|""|\[\]|\{\}|0\b))
        |\{\s*"(?:ok|success|succeeded)"\s*:\s*false
        |\{\s*"is_?error"\s*:\s*true""",
    re.IGNORECASE | re.VERBOSE,
)
_SEVERE = re.compile(
    r"""traceback\ \(most\ recent|segmentation\ fault|core\ dumped|out\ of\ memory|permission\ denied
        |command\ not\ found|timed\ out\b|connection\ (?:refused|reset)|unhandled\ exception
        |internal\ server\ error|panicked\ at""",
    re.IGNORECASE | re.VERBOSE,
)
_EXIT = re.compile(r"exit(?:ed)?(?: with)?[ _]?(?:status|code)?\W{1,4}(-?\d{1,3})\b", re.IGNORECASE)
_TESTS_FAIL = re.compile(
    r"\b[1-9]\d* (?:tests? )?(?:failed|failing|failures?)\b|\bFAILED\b|^--- FAIL|^FAIL\b",
    re.MULTILINE,
)
_TESTS_PASS = re.compile(
    r"\b[1-9]\d* (?:tests? )?(?:passed|passing)\b|^ok\s+\S|^OK\b|test result: ok|^PASS\b",
    re.MULTILINE,
)
_CORRECTION = re.compile(
    r"""\b(?:
        (?:that|this|it)(?:['’]s|\ is|\ was)\ (?:still\ )?(?:wrong|incorrect|broken|not\ (?:right|correct|true|what|how|working|it\b))
        |not\ what\ I|I\ (?:already\ )?(?:said|told\ you|meant|asked\ (?:for|you))|as\ I\ said|like\ I\ said
        |you\ (?:forgot|missed|ignored|misunder\w+|misread|didn['’]t|did\ not|broke|were\ wrong|got\ (?:that|it|this)\ wrong)
        |(?:misunderstanding|mix-?up|some\ confusion)
        |still\ (?:not|fail\w*|broken|wrong|the\ same|doesn['’]t|does\ not|isn['’]t|getting|see(?:ing)?\ the)
        |undo|revert|roll\ (?:it|that|this)?\ ?back|try\ (?:it\ )?again|wrong\ (?:file|one|place|thing|answer)
        )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_SUMMARY = re.compile(
    r"""\bsummary\ of\ (?:the\ |our\ )?(?:conversation|session|work|previous)|conversation\ (?:was\ |has\ been\ )?(?:compacted|summari[sz]ed)
        |(?:session|conversation)\ is\ being\ continued|ran\ out\ of\ context""",
    re.IGNORECASE | re.VERBOSE,
)
# One of these is in whatever the two above match: looking for them first is ten times as fast.
_CORRECTING = (
    *(
        "wrong",
        "incorrect",
        "broken",
        " not ",
        "not what",
        "i said",
        "i already",
        "i told",
        "i meant",
    ),
    *("i asked", "you ", "misund", "mix", "confusion", "still ", "undo", "revert", "roll", "try "),
)
_SUMMARISING = ("summar", "compacted", "continued", "out of context")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_WRITES = frozenset(
    [
        "write",
        "edit",
        "create",
        "update",
        "delete",
        "cancel",
        "book",
        "send",
        "apply",
        "patch",
        "insert",
        "move",
        "rename",
        "commit",
        "submit",
        "post",
        "put",
        "set",
        "add",
        "remove",
        "modify",
        "replace",
        "save",
        "upload",
        "publish",
        "pay",
        "order",
        "refund",
        "transfer",
        "exchange",
        "change",
        "merge",
        "push",
        "deploy",
        "issue",
    ]
)
_READS = frozenset(
    [
        "read",
        "get",
        "list",
        "search",
        "find",
        "view",
        "grep",
        "glob",
        "fetch",
        "look",
        "lookup",
        "query",
        "show",
        "open",
        "browse",
        "cat",
        "ls",
        "check",
        "inspect",
        "describe",
        "retrieve",
        "scan",
        "count",
    ]
)
_THINKS = frozenset(["think", "plan", "todo", "calculate", "calculator", "reason", "note"])
_SHELLS = frozenset(
    ["bash", "shell", "sh", "terminal", "exec", "execute", "run", "command", "powershell"]
)
_SHELL_WRITE = re.compile(
    r"(?<![\d&])>{1,2}(?!&)\s*[\w./~\"$']|\bsed\s+-i|\bgit\s+(?:commit|apply|push|checkout)\b"
    r"|(?:^|[;&|\"]\s*)(?:mv|cp|rm|mkdir|tee|touch|patch)\s"
)
_SHELL_TEST = re.compile(
    r"\b(?:pytest|tox|unittest|jest|vitest|mocha|rspec|ctest|phpunit)\b"
    r"|\b(?:npm|yarn|pnpm|go|cargo|dotnet|mvn|gradle|make|mix|swift)\s+(?:run\s+)?(?:test|check)\b"
)


def fault_of(text: str) -> Fault:
    """Say whether a tool's result tells of a fault, by its beginning, and its exit code at either end.

    `severe` is one that asking the same again will hardly mend: a crash, a time-out, no permission.
    """
    head = text[:HEAD_CHARS].lstrip()
    ends = head + text[-TAIL_CHARS:] if len(text) > HEAD_CHARS else head
    if _SEVERE.match(head):
        return "severe"
    code = _EXIT.search(ends) if "xit" in ends else None
    failed = code is not None and int(code.group(1)) != 0
    if failed or _MILD.match(head):
        return "severe" if _SEVERE.search(ends) else "mild"
    return "none"


def tests_of(text: str) -> TestState:
    """Say how a test run ended, by the ends of what it printed."""
    ends = text if len(text) <= 2 * HEAD_CHARS else text[:HEAD_CHARS] + "\n" + text[-HEAD_CHARS:]
    if _TESTS_FAIL.search(ends):
        return "fail"
    return "pass" if _TESTS_PASS.search(ends) else "none"


def is_correction(text: str) -> bool:
    """Whether a user's message sets the assistant right, by its beginning."""
    lowered = text[:SAID_CHARS].lower()
    if not any(needle in lowered for needle in _CORRECTING):
        return False
    return _CORRECTION.search(text[:SAID_CHARS]) is not None


def is_summary(text: str) -> bool:
    """Whether a message stands for a history that was cut, by its beginning."""
    lowered = text[:HEAD_CHARS].lower()
    if not any(needle in lowered for needle in _SUMMARISING):
        return False
    return _SUMMARY.search(text[:HEAD_CHARS]) is not None


def deed_of(name: str, arguments: str) -> Deed:
    """Say what a call does, by its tool's name; a shell's by its command."""
    kind = _kind_of(name)
    if kind != "shell":
        return kind
    command = arguments[:SHELL_CHARS]
    if _SHELL_TEST.search(command):
        return "test"
    return "write" if _SHELL_WRITE.search(command) else "read"


@lru_cache(maxsize=1024)
def _kind_of(name: str) -> Literal["read", "write", "test", "think", "unknown", "shell"]:
    words = [word.lower() for word in _WORD.findall(name[:128])]
    for word in words:  # The first word that tells is nearly always the verb.
        if word in _THINKS:
            return "think"
        if word in _WRITES:
            return "write"
        if word in _READS:
            return "read"
        if word in ("test", "tests", "pytest"):
            return "test"
        if word in _SHELLS:
            return "shell"
    return "unknown"
