"""Rules on the environment that holds the keys."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = [
    "CACHE_UNCHECKED",
    "ENTRY_POINT_FOREIGN",
    "FILE_CHANGED",
    "FILE_MISSING",
    "FILE_UNRECORDED",
    "LOCK_MISMATCH",
    "RELEASE_KNOWN_BAD",
    "SCRIPT_FOREIGN",
    "STARTUP_CODE",
    "STARTUP_MODULE",
]

_PTH = "https://docs.python.org/3/library/site.html"
_RECORD = "https://packaging.python.org/en/latest/specifications/recording-installed-packages/"

STARTUP_CODE = Rule(
    id="environment-startup-code",
    severity="critical",
    title="A .pth file that runs code as Python starts",
    what="Finds lines of `.pth` files that Python executes (they begin with `import`), but for those of a few well-known packages whose file is as they installed it.",
    why="It runs in every Python process of this environment, before any of your code and with every key in reach. The stolen release of LiteLLM in March 2026 did its work so.",
    fix="Find out which package put it there. If you don't know it: take the machine off the net, delete the environment, change every key that it could read, and install anew from a lock.",
    example='`import os, base64; exec(base64.b64decode("…"))` in `site-packages/x.pth`',
    references=(
        _PTH,
        "https://github.com/BerriAI/litellm/issues/24512",
        "PYSEC-2026-2",
    ),
    false_positives="Coverage tools, debuggers and editable installs of older setuptools start this way too.",
)
STARTUP_MODULE = Rule(
    id="environment-startup-module",
    severity="high",
    title="A module that Python imports as it starts",
    what="Finds `sitecustomize` and `usercustomize`, wherever they lie on the path.",
    why="Python imports them by their name alone in every process, before any of your code and with every key in reach.",
    fix="Read it. If it is not yours or your distribution's, treat the environment as stolen.",
    example="`site-packages/sitecustomize.py`",
    references=(_PTH,),
    false_positives="Debian and Ubuntu ship one for crash reports; monitoring agents install one.",
)
FILE_CHANGED = Rule(
    id="environment-file-changed",
    severity="high",
    title="An installed file that is not what was installed",
    what="Holds every file of every package against the SHA-256 in the package's RECORD.",
    why="Somebody or something wrote into the package after it was installed.",
    fix="Compare it with a fresh download, and install the environment anew.",
    example="A line added to `httptools/__init__.py`",
    references=(_RECORD,),
    false_positives="Packages patched by hand, and tools that rewrite files in place.",
)
FILE_MISSING = Rule(
    id="environment-file-missing",
    severity="medium",
    title="An installed file that is gone",
    what="Finds files that a package's RECORD names and that are not there.",
    why="What is not there cannot be checked, and an import may be answered by another file of that name.",
    fix="Install the package anew.",
    example="`click/termui.py` is missing",
    references=(_RECORD,),
    false_positives="Images that strip tests and documentation from packages.",
)
FILE_UNRECORDED = Rule(
    id="environment-file-unrecorded",
    severity="medium",
    title="Code among the packages that no package brought",
    what="Finds Python files, extension modules and scripts in site-packages that no RECORD names.",
    why="It can be imported like a package's own, and nobody knows what it should be.",
    fix="Find out what put it there, or delete it.",
    example="`site-packages/requests/_compat2.py`, which is not in requests' RECORD",
    references=(_RECORD,),
    false_positives="Files that programs write into site-packages as they run, and packages installed by other means than a wheel.",
)
CACHE_UNCHECKED = Rule(
    id="environment-cache-unchecked",
    severity="high",
    title="Compiled code that Python runs whatever its source says",
    what="Finds `.pyc` files that stand alone, or that say of themselves that their source need not be looked at (PEP 552, unchecked).",
    why="What is read is not what runs.",
    fix="Delete it, and install the package anew.",
    example="`__pycache__/app.cpython-311.pyc` with the flags 0b01",
    references=("https://peps.python.org/pep-0552/",),
    false_positives="Programs shipped as compiled code alone.",
)
LOCK_MISMATCH = Rule(
    id="environment-lock-mismatch",
    severity="critical",
    title="A package that has the locked version and other content",
    what="Holds the RECORD of each package that Pointsman itself needs against those of the files in its lock.",
    why="A release is immutable: the same version with other content was built or changed by somebody else.",
    fix="Treat the environment as stolen: delete it, change every key that it could read, and install anew with the hashes of the lock.",
    example="msgspec 0.21.1 whose RECORD belongs to no file that was published under that version",
    references=("https://pip.pypa.io/en/stable/topics/secure-installs/",),
    false_positives="Packages that a distribution or you built from source.",
)
RELEASE_KNOWN_BAD = Rule(
    id="environment-release-known-bad",
    severity="critical",
    title="A release that is known to be stolen",
    what="Knows releases that were published with somebody's stolen token and held malware.",
    why="It has run if it was imported once, and some run as Python starts.",
    fix="Take the machine off the net, change every key, token and password that it could read, delete the environment, and install anew.",
    example="litellm 1.82.8",
    references=("PYSEC-2026-2", "PYSEC-2026-3", "GHSA-w37p-236h-pfx3", "MAI-2026-002"),
)
ENTRY_POINT_FOREIGN = Rule(
    id="environment-entry-point-foreign",
    severity="high",
    title="Another package's entry point in our name",
    what="Finds entry points of the groups `pointsman` and `pointsman.…` that another package declares.",
    why="It asks to be loaded into the process that holds the keys. Nothing is loaded by entry point here; a program that did would take it.",
    fix="Remove the package, or ask its maker.",
    example="`[pointsman.plugins]` in the entry_points.txt of `pointsman-extras`",
    references=("https://packaging.python.org/en/latest/specifications/entry-points/",),
)
SCRIPT_FOREIGN = Rule(
    id="environment-script-foreign",
    severity="critical",
    title="Another package's command in our name",
    what="Finds a console script called `pointsman` that another package declares.",
    why="Whoever types `pointsman` may run that one.",
    fix="Remove the package, and install Pointsman anew.",
    example="`pointsman = evil:main` in `[console_scripts]` of another package",
    references=("https://packaging.python.org/en/latest/specifications/entry-points/",),
)
