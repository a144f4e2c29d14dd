"""The gate before local models: what is not accepted is refused, or said, before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, cast

from msgspec import Struct

from pointsman.errors import LockMismatch, NotVerified, Quarantined
from pointsman.trust.findings import Finding, Severity
from pointsman.trust.lock import LockedModel, read_lock
from pointsman.trust.policy import Policy
from pointsman.trust.state import Kept, State

__all__ = ["Gate", "Held", "Standing", "standing_of"]

Mode = Literal["enforce", "warn", "off"]


class Held(Struct, frozen=True):
    """A file that is about to be loaded. `sha256` is known if it was checked and nothing touched it since."""

    path: Path
    sha256: str | None = None


class Standing(Struct, frozen=True):
    """How a model stands: `accepted` by the policy or not, and why in words.

    `state` is "accepted", "refused" (it has findings that count, or not all could be checked),
    "unchecked" or "quarantined".
    """

    state: Literal["accepted", "refused", "unchecked", "quarantined"]
    why: str


def standing_of(hashes: Sequence[str], verdicts: Mapping[str, Kept], policy: Policy) -> Standing:
    """Say how a model with these files stands by its verdicts alone."""
    missing = [digest for digest in hashes if digest not in verdicts]
    if missing or not hashes:
        return Standing("unchecked", "it has not been checked")
    rules = {
        rule
        for digest in hashes
        for rule, severity in verdicts[digest].findings
        if policy.counts(Finding(rule, cast(Severity, severity), "", ""))
    }
    if rules:
        return Standing("refused", f"the check found {', '.join(sorted(rules))}")
    if any(verdicts[digest].incomplete for digest in hashes):
        return Standing("refused", "not all of it could be checked")
    return Standing("accepted", f"checked {max(verdicts[digest].at for digest in hashes)}")


class Gate:
    """Decides whether a local model may be loaded. `tell` gets what a person should know, once each."""

    def __init__(
        self,
        mode: Mode,
        policy: Policy,
        state: State,
        lock: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self.mode = mode
        self.policy = policy
        self.state = state
        self._lock = lock
        self._tell = tell
        self._told: set[str] = set()

    def admit(self, name: str, files: Sequence[Held]) -> None:
        """Return if the model may be loaded. Reads a file whole where its hash is needed and not known.

        What is in quarantine, and what is not as it was locked, is refused in every mode but "off";
        what has no accepted verdict in "enforce" only, and else is told.

        Raises:
            Quarantined, LockMismatch, NotVerified: it may not; says what to do.
            TrustError: the gate's own files, or the model's, cannot be read.
        """
        if self.mode == "off":
            return
        quarantined = self.state.quarantined()
        locked = self._locked(name)
        if name in quarantined:
            raise _in_quarantine(name, quarantined[name].reason)
        hashes: dict[Path, str] = {}
        # Hashing takes seconds a gigabyte, so it is done only where something depends on it.
        needed = (
            self.mode == "enforce"
            or locked is not None
            or any(entry.sha256 for entry in quarantined.values())
        )
        for each in files:
            digest = each.sha256 if self.mode != "enforce" else None
            if digest is None and needed:
                digest = self.state.sha256(each.path)
            if digest is not None:
                hashes[each.path] = digest
        for other, entry in quarantined.items():
            if set(entry.sha256) & set(hashes.values()):
                raise _in_quarantine(name, f"{entry.reason} (it is the same file as '{other}')")
        if locked is not None:
            _hold(name, locked, hashes)
        self._judge(name, files, hashes)

    def standing(self, name: str, files: Sequence[Held]) -> Standing:
        """Say how a model stands by hashes that are known; reads no file of it.

        Raises:
            TrustError: what is kept cannot be read.
        """
        entry = self.state.quarantined().get(name)
        if entry is not None:
            return Standing("quarantined", entry.reason)
        known = [self.state.known_sha256(each.path) or each.sha256 for each in files]
        if not known or None in known:
            return Standing("unchecked", "it has not been checked")
        hashes = [each for each in known if each]
        return standing_of(hashes, self.state.verdicts(), self.policy)

    def _locked(self, name: str) -> LockedModel | None:
        return None if self._lock is None else read_lock(self._lock).find(f"local:{name}")

    def _judge(self, name: str, files: Sequence[Held], hashes: Mapping[Path, str]) -> None:
        known = [hashes[each.path] for each in files if each.path in hashes]
        standing = Standing("unchecked", "it has not been checked")
        if len(known) == len(files):
            standing = standing_of(known, self.state.verdicts(), self.policy)
        if standing.state == "accepted":
            return
        what = f"'{name}': {standing.why}. Run: pointsman trust verify local:{name}"
        if self.mode == "enforce":
            raise NotVerified(f'{what} (it is not loaded, since trust.mode is "enforce")')
        if what not in self._told:
            self._told.add(what)
            self._tell(f'{what} (it is used all the same, since trust.mode is "warn")')


def _in_quarantine(name: str, reason: str) -> Quarantined:
    return Quarantined(
        f"'{name}' is in quarantine: {reason}. If that is settled: pointsman trust release {name}"
    )


def _hold(name: str, locked: LockedModel, hashes: Mapping[Path, str]) -> None:
    # A model's files lie in one folder, or each in a place of its own: their names are enough.
    expected = {PurePosixPath(each.path).name: each.sha256 for each in locked.files}
    for path, digest in hashes.items():
        then = expected.get(path.name)
        if then is None:
            raise LockMismatch(
                f"'{name}' loads {path}, which its lock does not have (sha256 {digest});"
                f" check it and lock it anew: pointsman trust lock local:{name}"
            )
        if then != digest:
            raise LockMismatch(
                f"{path} of '{name}' changed since it was locked: sha256 {digest}, locked {then};"
                " find out why, then pull it again or lock it anew"
            )
