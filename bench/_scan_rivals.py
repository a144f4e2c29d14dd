"""What each scanner is asked, in its own environment: a small program that scans files one by one.

Each prints a line for a file: its name and found, unchecked (an error, or a format that it says it does
not read) or passed. A scanner is asked through its own public functions, with its own defaults.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SCANNERS", "Scanner"]

_HEAD = """
import json, logging, os, resource, signal, sys, time, warnings
logging.disable(logging.CRITICAL); warnings.simplefilter("ignore")
folder, cap_s = sys.argv[1], int(sys.argv[2])
out = os.dup(1); os.dup2(2, 1)

class TooLong(BaseException):
    pass

def alarm(*_):
    raise TooLong

signal.signal(signal.SIGALRM, alarm)
"""
_LOOP = """
for name in sorted(os.listdir(folder)):
    before = time.process_time()
    signal.alarm(cap_s)
    try:
        said = ask(os.path.join(folder, name))
    except TooLong:
        said = "hung"
    except (Exception, SystemExit) as error:
        said = "crashed"
    signal.alarm(0)
    cpu = time.process_time() - before
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.write(out, (json.dumps([name, said, round(cpu, 6), rss]) + "\\n").encode())
"""
_POINTSMAN = """
from pathlib import Path
from pointsman.trust.scan import scan_path
def ask(path):
    return {"clean": "passed", "findings": "found", "incomplete": "unchecked"}[scan_path(Path(path)).report.status]
"""
_PICKLESCAN = """
from picklescan.scanner import scan_file_path
def ask(path):
    result = scan_file_path(path)
    if result.issues_count:
        return "found"
    return "unchecked" if result.scan_err or not result.scanned_files else "passed"
"""
# As its option --strict: what it has on no list counts as dangerous.
_PICKLESCAN_STRICT = _PICKLESCAN.replace(
    "if result.issues_count:", "if result.issues_count or result.suspicious_count:"
)
_MODELSCAN = """
from modelscan.modelscan import ModelScan
def ask(path):
    result = ModelScan().scan(path)
    if result["summary"]["total_issues"]:
        return "found"
    skipped = result["summary"].get("skipped", {}).get("total_skipped", 0)
    return "unchecked" if result["errors"] or skipped else "passed"
"""
_MODELAUDIT = """
from modelaudit.core import scan_model_directory_or_file
def ask(path):
    result = scan_model_directory_or_file(path, cache_enabled=False)
    if any(issue.severity.value in ("critical", "warning") for issue in result.issues):
        return "found"
    return "passed" if result.success and not result.has_errors and result.files_scanned else "unchecked"
"""
_FICKLING = """
import zipfile
from fickling import scan_file, scan_zip_archive
def ask(path):
    results = list(scan_zip_archive(path, graceful=True).values()) if zipfile.is_zipfile(path) else [scan_file(path, graceful=True)]
    if any(not each.is_safe and each.results for each in results):
        return "found"
    return "unchecked" if not results or any(each.errors for each in results) else "passed"
"""


class Scanner(NamedTuple):
    """A scanner: its package, its lock in requirements/, and what reads what it says."""

    name: str
    package: str
    lock: str
    program: str


SCANNERS = (
    Scanner("pointsman", "pointsman", "bench.txt", _HEAD + _POINTSMAN + _LOOP),
    Scanner("picklescan", "picklescan", "rival-picklescan.txt", _HEAD + _PICKLESCAN + _LOOP),
    Scanner(
        "picklescan-strict",
        "picklescan",
        "rival-picklescan.txt",
        _HEAD + _PICKLESCAN_STRICT + _LOOP,
    ),
    Scanner("modelscan", "modelscan", "rival-modelscan.txt", _HEAD + _MODELSCAN + _LOOP),
    Scanner("modelaudit", "modelaudit", "rival-modelaudit.txt", _HEAD + _MODELAUDIT + _LOOP),
    Scanner("fickling", "fickling", "rival-fickling.txt", _HEAD + _FICKLING + _LOOP),
)
