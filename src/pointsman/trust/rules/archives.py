"""Rules on archives: zip, tar and what is compressed."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = ["ARCHIVE_BOMB", "ARCHIVE_ESCAPE", "ARCHIVE_LINK", "ARCHIVE_MISMATCH", "ARCHIVE_POLYGLOT"]

ARCHIVE_ESCAPE = Rule(
    id="archive-escape",
    severity="critical",
    title="An archive that writes outside its folder",
    what="Finds members with an absolute path, a drive letter, or `..` in their name.",
    why="Unpacking it puts files wherever the attacker likes: a start-up script, a key file.",
    fix="Don't unpack it.",
    example="`../../.bashrc`",
    references=("https://security.snyk.io/research/zip-slip-vulnerability",),
)
ARCHIVE_LINK = Rule(
    id="archive-link",
    severity="high",
    title="An archive with links or devices",
    what="Finds symbolic and hard links that lead out of the archive, devices and pipes among its members.",
    why="A link that is unpacked first makes a later member land outside, or lets the loader read any file.",
    fix="Don't unpack it.",
    example="`weights -> /etc/passwd`",
    references=("https://nvd.nist.gov/vuln/detail/CVE-2007-4559",),
    false_positives="Links to a neighbour within the archive are no finding.",
)
ARCHIVE_BOMB = Rule(
    id="archive-bomb",
    severity="high",
    title="An archive that unpacks to far more than it is",
    what="Finds members that grow over 500 times to over 64 MiB, and stops unpacking there; and zip archives whose members overlap, so that they claim more bytes than the archive has.",
    why="It fills the memory or disk of whoever opens it.",
    fix="Don't unpack it.",
    example="42 kB of zip that become 4.5 PB.",
    references=("https://cwe.mitre.org/data/definitions/409.html",),
    false_positives="Weights that are all zero.",
)
ARCHIVE_MISMATCH = Rule(
    id="archive-mismatch",
    severity="high",
    title="An archive that says two things",
    what="Finds zip members whose local header and directory differ (name, method, size, encryption), wrong checksums, members listed twice, members that the directory leaves out, and tar headers with a wrong checksum.",
    why="One reader stops with an error or sees one thing, and another, such as PyTorch's own, reads on and sees another. That is how a payload gets past a scanner.",
    fix="Don't load it. If it is a torn download, fetch it again.",
    example="A wrong CRC on `data.pkl`: Python's zipfile refuses it, PyTorch's reader loads it.",
    references=("https://github.com/mmaitre314/picklescan/security/advisories",),
    false_positives="Damaged downloads.",
)
ARCHIVE_POLYGLOT = Rule(
    id="archive-polyglot",
    severity="high",
    title="A file that is also an archive",
    what="Finds a zip directory at the end of a file that begins as something else.",
    why="Zip is read from the end and most formats from the start: two programs see two different files.",
    fix="Don't use it.",
    example="A safetensors file with a zip after its last tensor.",
    false_positives="Self-extracting archives, which have no place beside a model.",
)
