"""Writes what was scanned as a CycloneDX ML-BOM.

Source: CycloneDX 1.6 (ECMA-424), bom-1.6.schema.json: component, modelCard, hashes, properties.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pointsman.trust.dates import written
from pointsman.trust.findings import Report
from pointsman.trust.formats.context import Template
from pointsman.trust.scan import ScannedFile
from pointsman.trust.template.compare import template_sha256

__all__ = ["ml_bom", "tree_sha256"]

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"


def tree_sha256(files: Sequence[ScannedFile]) -> str:
    """Give one hash for a set of files: of the lines `SHA256  NAME`, sorted by name."""
    lines = sorted((each.name, each.sha256 or "") for each in files)
    text = "".join(f"{digest}  {name}\n" for name, digest in lines)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def ml_bom(
    name: str,
    files: Sequence[ScannedFile],
    templates: Sequence[Template],
    report: Report,
    *,
    version: str,
    now: datetime,
    serial: UUID,
) -> dict[str, Any]:
    """Give the BOM of a model: one component of type machine-learning-model that holds its files.

    Each file has its SHA-256; each chat template's is a property of the model, as is the verdict.
    `now` is in UTC.
    """
    properties = [
        {
            "name": f"pointsman:chat_template:{each.path}:{each.name}:sha256",
            "value": template_sha256(each.text),
        }
        for each in templates
    ]
    properties.append({"name": "pointsman:scan:status", "value": report.status})
    properties.append({"name": "pointsman:scan:findings", "value": str(len(report.findings))})
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": tree_sha256(files)}],
        "properties": properties,
        "components": [_file(each, number) for number, each in enumerate(files)],
    }
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": written(now),
            "tools": {
                "components": [{"type": "application", "name": "pointsman", "version": version}]
            },
            "component": {"type": "machine-learning-model", "bom-ref": "subject", "name": name},
        },
        "components": [model],
    }


def _file(file: ScannedFile, number: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "file",
        "bom-ref": f"file-{number}",
        "name": file.name,
        "properties": [
            {"name": "pointsman:format", "value": file.kind},
            {"name": "pointsman:size_bytes", "value": str(file.size_bytes)},
        ],
    }
    if file.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": file.sha256}]
    return found
