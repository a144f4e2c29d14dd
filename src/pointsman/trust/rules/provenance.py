"""Rules on where a model came from, and whether it is still what it was."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = [
    "FILE_ADDED",
    "FILE_GONE",
    "FILE_NOT_AS_LOCKED",
    "NOT_LOCKED",
    "NOT_SIGNED",
    "SIGNATURE_WRONG",
    "SOURCE_CHANGED",
    "SOURCE_UNPINNED",
]

_SIGNING = "https://github.com/sigstore/model-transparency"

FILE_NOT_AS_LOCKED = Rule(
    id="lock-file-changed",
    severity="critical",
    title="A file that is not what was locked",
    what="Holds the SHA-256 of each file against pointsman.lock.",
    why="What was checked is not what would be loaded.",
    fix="Find out who changed it. If you did, check it and lock it anew; else remove it and pull it again.",
    example="`model.gguf` was 2c7f…, and is 91ab…",
    false_positives="A model that was converted or quantised anew under the same name.",
)
FILE_GONE = Rule(
    id="lock-file-missing",
    severity="high",
    title="A locked file that is gone",
    what="Finds files of pointsman.lock that are not there.",
    why="The model is not whole, and a loader may take another file in its place.",
    fix="Pull the model again, or lock what is there.",
    example="`model-00002-of-00003.gguf` is missing",
)
FILE_ADDED = Rule(
    id="lock-file-added",
    severity="high",
    title="A file that was added since the lock",
    what="Finds files in the model's folder that pointsman.lock does not have.",
    why="Loaders pick files by their names: a configuration, code or weights that nobody checked can be among them.",
    fix="Look at it; delete it, or check the model and lock it anew.",
    example="`modeling_extra.py` beside the weights",
)
NOT_LOCKED = Rule(
    id="lock-missing",
    severity="high",
    title="A model that is not locked",
    what="Asks that the model stands in pointsman.lock, where the policy says so.",
    why="Without a lock nothing says that the files are those that were checked.",
    fix="Check it and lock it: pointsman trust lock.",
    example="`provenance.lock = true` in the policy, and no entry of that name",
)
SOURCE_UNPINNED = Rule(
    id="source-unpinned",
    severity="medium",
    title="A model from a hub without its exact commit",
    what="Asks that a model from a hub names the commit that it was fetched at.",
    why="A branch moves, and a namespace that was deleted can be registered by somebody else: the same name then gives other files.",
    fix="Pull it again: a pull writes the commit down. Elsewhere, name the revision.",
    example="`hf:user/repo` with no commit in its manifest",
    references=("https://unit42.paloaltonetworks.com/model-namespace-reuse/",),
    false_positives="Models pulled before commits were written down.",
)
SOURCE_CHANGED = Rule(
    id="source-changed",
    severity="high",
    title="A model that comes from elsewhere than when it was locked",
    what="Compares the source and the commit with those in the lock.",
    why="The files may be the same today; the name now belongs to another place, perhaps to another owner.",
    fix="Find out why. If it is meant, lock it anew.",
    example="Locked from `hf:alice/tiny`, now from `hf:a1ice/tiny`",
    references=("https://unit42.paloaltonetworks.com/model-namespace-reuse/",),
)
NOT_SIGNED = Rule(
    id="signature-missing",
    severity="high",
    title="A model without the signature that the policy asks for",
    what="Looks for `model.sig` beside the model, or where --signature says.",
    why="Nobody vouches for these files.",
    fix="Get the signature from whoever made the model, or sign it yourself once it is checked.",
    example="`provenance.signature = true` in the policy, and no model.sig",
    references=(_SIGNING,),
)
SIGNATURE_WRONG = Rule(
    id="signature-mismatch",
    severity="critical",
    title="A signature that does not fit",
    what="Checks the signature, whose it is, and each file's hash in it (OpenSSF model signing).",
    why="The files are not those that were signed, or somebody else signed them.",
    fix="Don't use it. Fetch the model and its signature again from whoever made it.",
    example="One byte of `model.gguf` differs from what was signed",
    references=(_SIGNING,),
)
