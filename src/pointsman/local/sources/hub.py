"""A model of the Hugging Face Hub, kept in the cache that llama.cpp and others use as well.

huggingface_hub lists, and lays out the cache. It fetches a file into a place of its own that it
deletes when it is cut short (2.4.0, file_download.py), so the file itself is fetched here, to where
it then finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from pointsman.errors import LocalError, MissingExtra
from pointsman.local.download import Refused, check_space
from pointsman.local.manifest import Manifest
from pointsman.local.refs import HubRef
from pointsman.local.sources.base import Fetched, Found, Job, fetch_file, hash_file
from pointsman.local.sources.quants import choose, label_of, parts_of, projector_for

__all__ = ["HubFile", "HubPlan", "plan"]

TIMEOUT_S = 30.0
LOCK_LOOK_S = 0.5
WEB = "https://huggingface.co"
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_FILES = 100_000


class HubFile(Struct, frozen=True):
    """A file of a repository. `blob` is its name in the cache; for a large file its sha256."""

    path: str
    size_bytes: int
    blob: str
    sha256: str | None


class HubPlan(Struct, frozen=True):
    """A model of a repository, at a commit."""

    name: str
    source: str
    repo: str
    commit: str
    files: tuple[HubFile, ...]
    projector: HubFile | None
    licence: str
    endpoint: str
    cache: Path
    token: str | None

    def holds(self, manifest: Manifest) -> bool:
        """Whether it has the same files; the commit may be another, of a changed page only."""
        stored = [each.sha256 for each in manifest.all_files()]
        wanted = [each.sha256 for each in self._all()]
        return manifest.source == self.source and stored == wanted

    def fetch(self, job: Job, scratch: Path) -> Fetched:
        """Have all files in the Hub's cache; they are served from there."""
        missing = [each for each in self._all() if not self._blob(each).exists()]
        self._blobs().mkdir(parents=True, exist_ok=True)
        need = sum(each.size_bytes - _begun(self._blob(each)) for each in missing)
        check_space(self._blobs(), need, self.repo)
        found = {each.path: self._fetch_one(job, each) for each in self._all()}
        return Fetched(
            tuple(found[each.path] for each in self.files),
            projector=None if self.projector is None else found[self.projector.path],
            licence=self.licence,
            commit=self.commit,
        )

    def _all(self) -> tuple[HubFile, ...]:
        return self.files if self.projector is None else (*self.files, self.projector)

    def _folder(self) -> Path:
        return self.cache / f"models--{self.repo.replace('/', '--')}"

    def _blobs(self) -> Path:
        return self._folder() / "blobs"

    def _blob(self, file: HubFile) -> Path:
        return self._blobs() / file.blob

    def _fetch_one(self, job: Job, file: HubFile) -> Found:
        import huggingface_hub as hub

        name = file.path.rpartition("/")[2]
        # Where there are no links, the cache holds the file itself under its own name.
        pointer = self._folder() / "snapshots" / self.commit / file.path
        digest = None
        if not pointer.exists():
            with self._locked(job, file):
                digest = self._fetch_blob(job, file, name)
            try:
                pointer = Path(
                    hub.hf_hub_download(
                        self.repo, file.path, endpoint=self.endpoint, cache_dir=self.cache,
                        token=self.token or False, revision=self.commit,
                    )
                )  # fmt: skip
            except Exception as error:
                raise _explained(self.repo, error) from error
            self._note_branch()
        if digest is None or pointer.resolve() != self._blob(file).resolve():
            digest = hash_file(job, pointer, name)
        if file.sha256 is not None and digest != file.sha256:
            raise LocalError(
                f"{pointer} has sha256 {digest}, expected {file.sha256}: it was damaged in the"
                f" cache; delete {pointer.resolve()} and pull again"
            )
        return Found(pointer, digest, in_place=True)

    def _fetch_blob(self, job: Job, file: HubFile, name: str) -> str | None:
        """Have the blob; gives its hash if it was fetched now."""
        import huggingface_hub as hub

        blob = self._blob(file)
        if blob.exists():
            return None
        url = hub.hf_hub_url(self.repo, file.path, revision=self.commit, endpoint=self.endpoint)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            return fetch_file(
                job, url, blob, size_bytes=file.size_bytes, sha256=file.sha256, headers=headers,
                label=name,
            )  # fmt: skip
        except Refused as error:
            raise _refused(self.repo, error.http_status, error.message) from error

    def _note_branch(self) -> None:
        """Write down which commit the branch is at: without it llama.cpp finds no cached file."""
        ref = self._folder() / "refs" / "main"
        ref.parent.mkdir(parents=True, exist_ok=True)
        if not ref.exists() or ref.read_text("utf-8") != self.commit:
            scratch = ref.with_name(".main.new")
            scratch.write_text(self.commit, "utf-8")
            scratch.replace(ref)

    @contextmanager
    def _locked(self, job: Job, file: HubFile) -> Iterator[None]:
        """Hold the cache's own lock for a blob, so that no other program fetches it too."""
        import filelock
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # lazily there

        path = self.cache / ".locks" / self._folder().name / f"{file.blob}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            lock = WeakFileLock(path, timeout=LOCK_LOOK_S)
            try:
                lock.__enter__()
                break
            except filelock.Timeout:
                job.check()
        try:
            yield
        finally:
            lock.__exit__(None, None, None)


def plan(ref: HubRef, job: Job) -> HubPlan:
    """Ask the Hub what the repository has, and choose.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        LocalError: no such repository, or not for you; no such quantization; no connection.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants
    except ImportError:
        raise MissingExtra("pulling from Hugging Face", "hub") from None
    # llama.cpp's name goes first, as there.
    endpoint = _set(job.env, "MODEL_ENDPOINT", "HF_ENDPOINT") or constants.ENDPOINT
    token = _set(job.env, "HF_TOKEN") or (
        None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else hub.get_token()
    )
    try:
        info = hub.HfApi(endpoint=endpoint.rstrip("/"), token=token or False).model_info(
            ref.repo, files_metadata=True, timeout=TIMEOUT_S
        )
    except Exception as error:
        raise _explained(ref.repo, error) from error
    return _planned(ref, info, endpoint.rstrip("/"), _cache(job.env), token)


def _planned(ref: HubRef, info: Any, endpoint: str, cache: Path, token: str | None) -> HubPlan:
    commit = info.sha
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise LocalError(f"the Hub names no commit of {ref.repo}")
    files = {each.path: each for each in _files(info)}
    chosen = choose(ref.repo, list(files), ref.quant)
    projector = projector_for(chosen, list(files))
    label = label_of(chosen)
    name = f"{ref.repo}:{label}" if label else ref.repo
    if label is None and ref.quant is not None:
        # The name of a file that says no quantization, kept apart from the repository's others.
        name = f"{ref.repo}:{re.sub(r'[^A-Za-z0-9_.-]', '-', chosen.rpartition('/')[2])}"
    return HubPlan(
        name=name,
        source=f"hf:{name}",
        repo=ref.repo,
        commit=commit,
        files=tuple(files[path] for path in parts_of(chosen, list(files))),
        projector=None if projector is None else files[projector],
        licence=_licence(info),
        endpoint=endpoint,
        cache=cache,
        token=token,
    )


def _files(info: Any) -> Iterator[HubFile]:
    for each in (info.siblings or [])[:MAX_FILES]:
        sha256 = each.lfs.sha256 if each.lfs else None
        blob = sha256 or each.blob_id
        path = each.rfilename
        # These become file names here.
        if not isinstance(blob, str) or not _BLOB.fullmatch(blob) or each.size is None:
            continue
        if any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path:
            continue
        yield HubFile(path, each.size, blob, sha256)


def _licence(info: Any) -> str:
    tags = [tag for tag in info.tags or [] if isinstance(tag, str)]
    return next((tag[8:][:100] for tag in tags if tag.startswith("license:")), "")


def _set(env: Mapping[str, str], *names: str) -> str | None:
    return next((value for name in names if (value := env.get(name, "").strip())), None)


def _cache(env: Mapping[str, str]) -> Path:
    """Where the cache is; what `env` does not say, huggingface_hub has found when it was loaded."""
    from huggingface_hub import constants

    if own := _set(env, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser().absolute()
    if home := _set(env, "HF_HOME"):
        return (Path(home).expanduser() / "hub").absolute()
    return Path(constants.HF_HUB_CACHE).absolute()


def _begun(blob: Path) -> int:
    try:
        return blob.with_name(f"{blob.name}.part").stat().st_blocks * 512
    except OSError:
        return 0


def _explained(repo: str, error: Exception) -> LocalError:
    """Say what a fault of huggingface_hub means, and what to do."""
    import huggingface_hub.errors as faults

    if isinstance(error, LocalError):
        return error
    if isinstance(error, faults.HfHubHTTPError):
        status = error.response.status_code if error.response is not None else 0
        gated = isinstance(error, faults.GatedRepoError)
        return _refused(repo, 403 if gated else status, f"the Hub answered {status}")
    if isinstance(error, faults.OfflineModeIsEnabled):
        return LocalError(f"{repo} cannot be looked up: HF_HUB_OFFLINE is set")
    if isinstance(error, faults.HFValidationError):
        return LocalError(f"'{repo}' is no repository's name: hf:user/repo")
    return LocalError(
        f"the Hub could not be asked about {repo}: {type(error).__name__}: {str(error)[:300]};"
        " check the network, or set HF_ENDPOINT to a mirror"
    )


def _refused(repo: str, status: int, said: str) -> LocalError:
    if status == 403:
        return LocalError(
            f"{repo} is gated: accept its terms on {WEB}/{repo}, and set HF_TOKEN to a token of"
            f" that account ({WEB}/settings/tokens)"
        )
    if status in (401, 404):
        return LocalError(
            f"the Hub has no {repo}, or does not show it to you: check the name; if it is private"
            f" or gated, set HF_TOKEN ({WEB}/settings/tokens)"
        )
    return LocalError(f"{repo} cannot be pulled: {said}")
