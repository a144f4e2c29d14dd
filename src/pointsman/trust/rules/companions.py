"""Rules on what lies beside the weights."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = [
    "CONFIG_CODE",
    "CONFIG_ESCAPE",
    "CONFIG_TARGET",
    "CUSTOM_CODE",
    "EXECUTABLE",
    "HIDDEN_FILE",
    "LINK_OUTSIDE",
    "NAME_CONFUSABLE",
    "SCRIPT",
    "SPECIAL_FILE",
    "STARTUP_HOOK",
]

CONFIG_CODE = Rule(
    id="config-code",
    severity="high",
    title="A configuration that asks for the model's own code",
    what="Finds `auto_map` and `custom_pipelines` in config.json and its neighbours.",
    why="With `trust_remote_code` the loader imports and runs Python files from the model's folder or, written as `other/repo--module.Class`, from someone else's repository.",
    fix="Load it without `trust_remote_code`, or read the code it names, and pin its commit.",
    example='`{"auto_map": {"AutoModel": "modeling_x.XModel"}}`',
    references=("https://huggingface.co/docs/transformers/custom_models",),
    false_positives="Many honest models of new architectures have it. It is code all the same.",
)
CONFIG_TARGET = Rule(
    id="config-target",
    severity="high",
    title="A configuration that names a function to call",
    what="Finds `_target_` of Hydra outside the usual libraries, and YAML tags that make Python objects (`!!python/…`).",
    why="The loader calls what is named, with the arguments that stand beside it (CVE-2025-23304 in NeMo and others).",
    fix="Don't load it.",
    example="`_target_: os.system`",
    references=("https://unit42.paloaltonetworks.com/rce-vulnerabilities-in-ai-python-libraries/",),
    false_positives="Libraries that are not on the list of usual ones.",
)
CONFIG_ESCAPE = Rule(
    id="config-escape",
    severity="high",
    title="A configuration that points out of its folder",
    what="Finds index files whose shards are absolute paths or have `..` in them.",
    why="The loader would read files from elsewhere on the machine as weights.",
    fix="Don't load it.",
    example='`"weight_map": {"a": "../../secret.safetensors"}`',
)
CUSTOM_CODE = Rule(
    id="custom-code",
    severity="medium",
    title="Python beside the weights",
    what="Finds Python source and byte code among the files of a model.",
    why="Loaders with `trust_remote_code` run it. Nothing that only holds weights needs it.",
    fix="Read it before use, or delete it and load without `trust_remote_code`.",
    example="`modeling_x.py`",
    false_positives="Examples of use that nothing imports.",
)
EXECUTABLE = Rule(
    id="executable",
    severity="high",
    title="A program beside the weights",
    what="Finds ELF, PE, Mach-O, WebAssembly and Java class files by their first bytes, whatever their name.",
    why="Weights are data. A program or library among them is there to be run.",
    fix="Delete it, unless you know what it is and who built it.",
    example="`libcustom_op.so`, `tokenizer.json` that begins with `MZ`.",
    false_positives="Llamafiles, which are programs with weights inside, and kernels that belong to the model.",
)
SCRIPT = Rule(
    id="script",
    severity="medium",
    title="A script beside the weights",
    what="Finds files that begin with `#!`, and shell, batch, PowerShell and JavaScript files by their name.",
    why="A script among weights waits for someone to run it.",
    fix="Read it before you run it, or delete it.",
    example="`setup.sh`, `run.bat`",
    false_positives="Scripts for conversion that honest makers add.",
)
STARTUP_HOOK = Rule(
    id="startup-hook",
    severity="critical",
    title="A file that runs when Python starts",
    what="Finds `.pth` files of text that begin a line with `import`, `sitecustomize.py`, `usercustomize.py`, and `conftest.py`.",
    why="In a folder that Python searches they run at each start of the interpreter, without being imported. A stolen release of a popular gateway spread that way in March 2026.",
    fix="Delete it, and look where else it may have been copied.",
    example="`x.pth` with `import os; os.system(…)`",
    references=("https://docs.python.org/3/library/site.html",),
)
LINK_OUTSIDE = Rule(
    id="link-outside",
    severity="high",
    title="A link out of the model's folder",
    what="Finds symbolic links that lead outside what is scanned, or nowhere.",
    why="Whoever serves, copies or packs the folder takes the file it points to along.",
    fix="Replace it by the file it should be, or delete it.",
    example="`vocab.txt -> /etc/passwd`",
    false_positives="The Hugging Face cache links to its own `blobs`, which is no finding.",
)
SPECIAL_FILE = Rule(
    id="special-file",
    severity="high",
    title="A device, pipe or socket",
    what="Finds what is no file, folder or link.",
    why="Reading it hangs or acts on the machine. No model has one.",
    fix="Delete it.",
    example="A named pipe called `model.safetensors`.",
)
HIDDEN_FILE = Rule(
    id="hidden-file",
    severity="low",
    title="A hidden file",
    what="Finds files and folders whose name begins with a dot, but for those of git and of the Hugging Face cache.",
    why="It is overlooked by people, and some of them steer programs (`.env`, `.netrc`, `.pypirc`).",
    fix="Look what it is, and delete it if the model does not need it.",
    example="`.env`",
    false_positives="Leavings of editors and of desktops.",
)
NAME_CONFUSABLE = Rule(
    id="name-confusable",
    severity="medium",
    title="A name that is not what it looks like",
    what="Finds names with invisible, control or direction-changing characters, letters of two scripts in one word, and names that are equal but for case or Unicode form.",
    why="A person reads one name, the machine another; on a file system without case the second file replaces the first.",
    fix="Rename or delete it.",
    example="`cоnfig.json` with a Cyrillic о; `Config.json` beside `config.json`.",
    references=("https://www.unicode.org/reports/tr39/",),
)
