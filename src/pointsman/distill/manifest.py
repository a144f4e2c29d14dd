"""The manifest of a classifier's folder: what its files are, by hash, and what they came of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pointsman.distill.facts import Facts, Learning

__all__ = ["FORMAT", "FileEntry", "Manifest", "file_entry", "manifest"]

FORMAT = "pointsman.classifier/1"


class FileEntry(Struct, frozen=True):
    """A file of the folder: its hash in hex, and its size."""

    sha256: str
    size_bytes: int


class Manifest(Struct, frozen=True, kw_only=True):
    """The layout of `manifest.json`.

    `files` are by their path within the folder, with `/` between the parts; the manifest itself is
    not among them. `rows_sha256` is of the rows learned from, each as a line of JSON of its text,
    labels, soft labels and weight. `teacher` is `teacher.summary.Summary`, with the hash of its prompts.
    """

    format: str
    name: str
    created: str
    labels: tuple[str, ...]
    multi: bool
    thresholds: tuple[float, ...]
    temperature: float
    files: Mapping[str, FileEntry]
    data: str
    rows_sha256: str
    test_data: str | None
    licence: str | None
    task: str | None
    counts: Mapping[str, int]
    settings: Mapping[str, Any]
    measured_on: str
    scores: Mapping[str, Any]
    latency_us_p50: float
    train_s: float
    machine: str
    versions: Mapping[str, str]
    teacher: Mapping[str, Any] | None
    rejected: float | None
    learning: Learning | None


def file_entry(data: bytes) -> FileEntry:
    """Give the entry of a file with this content."""
    return FileEntry(hashlib.sha256(data).hexdigest(), len(data))


def manifest(facts: Facts, files: Mapping[str, FileEntry]) -> bytes:
    """Give the manifest of a folder that holds these files, as indented JSON."""
    scores = msgspec.to_builtins(facts.scores)
    scores.pop("classes")
    found = Manifest(
        format=FORMAT,
        name=facts.name,
        created=facts.created,
        labels=facts.labels,
        multi=facts.multi,
        thresholds=facts.thresholds,
        temperature=facts.temperature,
        files=dict(sorted(files.items())),
        data=facts.data,
        rows_sha256=facts.rows_sha256,
        test_data=facts.test_data,
        licence=facts.licence,
        task=facts.task,
        counts=facts.counts,
        settings=facts.settings,
        measured_on=facts.measured_on,
        scores=scores,
        latency_us_p50=facts.latency_us_p50,
        train_s=facts.train_s,
        machine=facts.machine,
        versions=facts.versions,
        teacher=facts.teacher,
        rejected=facts.rejected,
        learning=facts.learning,
    )
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
