"""Rules on pickles: files that run code when they are loaded."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = [
    "PICKLE_BROKEN",
    "PICKLE_CODE",
    "PICKLE_COMPUTED_IMPORT",
    "PICKLE_DISGUISED",
    "PICKLE_FILE",
    "PICKLE_IMPORT",
    "PICKLE_MODULE_STATE",
    "PICKLE_SECOND_OPINION",
]

_DOCS = "https://docs.python.org/3/library/pickle.html (the warning at its top)"

PICKLE_FILE = Rule(
    id="pickle-file",
    severity="medium",
    title="A pickle, which may not be used",
    what="Finds Python pickles by their opcodes, in files of any name: raw, in PyTorch's zip and tar forms, in NumPy arrays of objects, in joblib files, inside other archives.",
    why="A pickle is a program: loading it runs what it says, with the rights of whoever loads it. That nothing bad was seen in it is no promise.",
    fix="Use the model's safetensors or GGUF file; where there is none, ask its maker for one, or convert it on a machine that holds nothing.",
    example="`pytorch_model.bin`, `model.pt`, `model.ckpt`, `model.joblib`, `embeddings.npy` with `dtype=object`.",
    references=(_DOCS, "https://huggingface.co/docs/hub/security-pickle"),
    false_positives="None: that it is a pickle is a fact, and the rule says no more. A policy may allow one by its hash.",
)
PICKLE_IMPORT = Rule(
    id="pickle-import",
    severity="high",
    title="A pickle imports what no weights need",
    what="Follows a pickle's stack and memo without running it, and lists what it imports: each name must be one of those that PyTorch, NumPy and joblib write for tensors and plain containers. The list is of what is allowed, so an unknown name is a finding.",
    why="What a pickle imports it can call, and lists of forbidden names have been got round again and again through functions nobody thought of.",
    fix="Don't load it. If the name is a class of the model's own library, use the safetensors form instead.",
    example="`c mailcap\\nfindmatch\\n`: a function of the standard library that runs a shell command.",
    references=(
        _DOCS,
        "https://github.com/mmaitre314/picklescan/issues/66",
        "https://github.com/protectai/modelscan/pull/346",
    ),
    false_positives="Pickles of classifiers (scikit-learn and the like) import their own classes. They are programs all the same.",
)
PICKLE_CODE = Rule(
    id="pickle-code",
    severity="critical",
    title="A pickle runs code",
    what="As pickle-import, for names that are known to run commands, load code or reach into objects: `os`, `subprocess`, `builtins.eval`, `importlib`, `runpy`, `operator.attrgetter` and others.",
    why="Loading this file runs the attacker's commands. There is no other reason for such an import in a model.",
    fix="Delete the file, and tell the place that it came from. If it has been loaded anywhere, treat that machine and its keys as lost.",
    example="`c os\\nsystem\\n(S'...'\\ntR.`",
    references=(_DOCS, "https://github.com/mmaitre314/picklescan/issues/14"),
)
PICKLE_COMPUTED_IMPORT = Rule(
    id="pickle-computed-import",
    severity="critical",
    title="A pickle computes what it imports",
    what="Finds STACK_GLOBAL whose module or name is no constant string, and the extension codes EXT1, EXT2 and EXT4, which stand for names registered elsewhere.",
    why="No library writes that. It hides the name of the import from scanners.",
    fix="Delete the file, and tell the place that it came from.",
    example="A name that is built by a call, or is taken from a memo entry that another opcode has overwritten.",
    references=("https://github.com/protectai/modelscan/issues/85",),
)
PICKLE_MODULE_STATE = Rule(
    id="pickle-module-state",
    severity="critical",
    title="A pickle changes what it imported",
    what="Finds BUILD, SETITEM and their like on an imported function or class instead of on an object made from one.",
    why="It sets attributes of the library itself, for all code of the process that loads it; a later import in the same file can then reach hidden values.",
    fix="Delete the file, and tell the place that it came from.",
    example="`c numpy\\nprod\\n`, then BUILD with `{'a': 'os'}`.",
    references=("https://github.com/protectai/modelscan/issues/85",),
)
PICKLE_BROKEN = Rule(
    id="pickle-broken",
    severity="high",
    title="A pickle that breaks off",
    what="Finds a pickle with an unknown opcode, a length past its end, or no STOP, after opcodes that were in order.",
    why="Python runs opcodes as it reads them: all before the break has run by the time the error comes. Scanners that parse first see only the error.",
    fix="Don't load it. If it is a torn download, fetch it again and compare its hash.",
    example="A payload followed by the byte 0xff.",
    references=(
        "https://www.reversinglabs.com/blog/rl-identifies-malware-ml-model-hosted-on-hugging-face",
    ),
    false_positives="A download that was cut short.",
)
PICKLE_DISGUISED = Rule(
    id="pickle-disguised",
    severity="critical",
    title="A pickle in another format's clothes",
    what="Runs every file's first bytes through the opcode walk, whatever else it looks like: a file that begins as a known format and is also a pickle that imports something.",
    why="A loader that goes by the name or by its own guess unpickles it; a scanner that goes by the first bytes looks for something else.",
    fix="Delete the file, and tell the place that it came from.",
    example="`GGUF` and eight bytes are one harmless opcode of a pickle (a float); a payload can follow.",
)
PICKLE_SECOND_OPINION = Rule(
    id="pickle-second-opinion",
    severity="high",
    title="Another scanner's finding",
    what="Passes on what picklescan (extra `scan`) or modelscan and modelaudit, where they are installed, say of a file with a pickle.",
    why="They know imports and formats that this scan may not, and whatever the three disagree on deserves a look.",
    fix="Read the message with its own tool's documentation; don't load the file before.",
    example="`picklescan: dangerous import 'os system'`",
    references=(
        "https://github.com/mmaitre314/picklescan",
        "https://github.com/protectai/modelscan",
    ),
    false_positives="Those of the tool that is named.",
)
