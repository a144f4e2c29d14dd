"""The console in Chromium: what it shows of a real gateway, on a narrow and on a wide page.

POINTSMAN_CONSOLE_SHOTS names a folder to put screenshots into.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent.parent
sys.path += [str(TESTS / "distill"), str(TESTS / "local")]

from golden_tools import call, fetched, program  # noqa: E402
from tiny_gguf import write_llama  # noqa: E402

from pointsman.testing import Answer  # noqa: E402

STRANGE = "<img src=x onerror=alert(1)>\u202eedud"
SHOWN = "<img src=x onerror=alert(1)>\\u{202e}edud"
CONFIG = """
[models.cheap]
ref = "o:cheap"
price = {{ input = 0.1, output = 0.4 }}
[models.middle]
ref = "o:{strange}"
price = {{ input = 1.0, output = 4.0 }}
[models.dear]
ref = "a:dear"
price = {{ input = 5.0, output = 20.0 }}
[routes.auto]
candidates = ["cheap", "middle", "dear"]
dial = 0.45
[routes.auto.ab]
name = "half"
share = 0.5
dial = 0.8
[local.models.tiny]
path = "{model}"
[local.models.odd]
path = "{odd}"
{more}
"""
KEY = "let-me-in"


def drive(site: Any, folder: Path, views: list[dict[str, Any]], **task: Any) -> list[Any]:
    node, chromium = program("node"), program("chromium", "chromium-browser", "google-chrome")
    modules = fetched("node", "node_modules")
    (folder / "node_modules").symlink_to(modules)
    shutil.copy(Path(__file__).with_name("console_driver.mjs"), folder / "driver.mjs")
    task |= {
        "address": site.gateway.url,
        "chromium": chromium,
        "views": views,
        "out": str(folder / "seen.json"),
        "prompt": f"Prove that there are infinitely many primes. {STRANGE}",
        "reason": STRANGE,
        "shots": os.environ.get("POINTSMAN_CONSOLE_SHOTS"),
    }
    (folder / "task.json").write_text(json.dumps(task))
    call([node, "driver.mjs", "task.json"], cwd=folder)
    found: list[Any] = json.loads((folder / "seen.json").read_text())
    return found


def config_of(folder: Path, more: str = "") -> str:
    model = write_llama(folder / "tiny.gguf")
    odd = folder / "odd.gguf"
    odd.write_bytes(model.read_bytes() + b"PK\x03\x04")
    return CONFIG.format(strange=STRANGE, model=model, odd=odd, more=more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "browser"
    found.mkdir()
    return found


def test_the_console_shows_routes_and_trust_and_acts(make_site: Any, folder: Path) -> None:
    site = make_site(lambda request: Answer(text="Yes."), config_of(folder))
    for number in range(6):
        body = {"messages": [{"role": "user", "content": f"Is {number} prime? " * 20}]}
        assert site.chat("auto", **body).status == 200
    views = [{"width": 1280, "scheme": "light"}, {"width": 390, "scheme": "dark"}]
    for seen in drive(site, folder, views):
        assert (seen["errors"], seen["violations"]) == ([], [])
        assert all(url.startswith(site.gateway.url) for url in seen["requests"])
        assert seen["images"] == seen["unnamed"] == 0
        assert seen["wide"] == [0, 0]
        assert seen["kept"] == [[], [], ""]
        check_overview(seen)
        check_curve(seen)
        check_week(seen)
        check_explained(seen)
        check_trust(seen)


def check_overview(seen: dict[str, Any]) -> None:
    assert "is running" in seen["overview"]
    assert "local:tiny" in seen["overview"] and "not loaded" in seen["overview"]
    assert "Answers by model" in seen["overview"]


def check_curve(seen: dict[str, Any]) -> None:
    assert "dial 0.45" in seen["routes"] and SHOWN in seen["routes"]
    curve = seen["curve"]
    assert (curve["levels"], curve["singles"]) == (21, 3)
    assert curve["band"] > 10 and curve["font"] >= 11
    assert curve["width"] <= seen["width"]
    assert SHOWN in seen["legend"] and "set now" in seen["legend"]
    now, end = seen["told"]
    assert (
        now.startswith("Dial 0.45: expected quality") and "The last week would have cost $" in now
    )
    assert end.startswith("Dial 1: ") and end != now
    assert len(seen["settings"]) == 21
    assert [row[0] for row in seen["settings"] if "set now" in row[0]] == ["0.45 set now"]
    assert "o:cheap 100 %" in seen["settings"][0][6]


def check_week(seen: dict[str, Any]) -> None:
    week = seen["week"]
    assert len(week) == 21
    assert [row[2] for row in week if "set now" in row[0]] == ["–"]
    assert week[-1][4].startswith("+")
    control, variant = seen["sides"]
    assert int(control[1]) + int(variant[1]) == 6


def check_explained(seen: dict[str, Any]) -> None:
    words, rows = seen["explained"], seen["candidates"]
    assert len(rows) == 3
    assert "Chosen: " in words and "runner-up: " in words and "Why: " in words
    assert "chosen" in rows[0][0] and "runner-up" in rows[1][0]
    for row in rows:
        assert row[1].endswith(" %") and row[2].startswith("$")


def check_trust(seen: dict[str, Any]) -> None:
    names = [[row[0] for row in rows] for rows in seen["standing"]]
    assert names == [["local:odd", "local:tiny"]] * 4
    assert "What to do: " in seen["finding"] and ": gguf-" in seen["finding"]
    assert seen["standing"][1][0][1] == "refused"
    _, checked, aside, after = (rows[1] for rows in seen["standing"])
    assert "nothing found" in checked[2] and checked[1] == "accepted"
    assert (aside[1], after[1]) == ("in quarantine", "accepted")
    assert SHOWN in aside[2]
    assert seen["focused"] == "asked"
    assert seen["said"] == ["local:tiny is in quarantine.", "local:tiny is released."]


def test_the_console_asks_for_the_key_and_keeps_it_for_the_tab(
    make_site: Any, folder: Path
) -> None:
    site = make_site(None, config_of(folder, '[server]\nadmin_key_env = "ADMIN_KEY"'))
    (seen,) = drive(site, folder, [{"width": 800, "scheme": "light"}], key=KEY)
    assert seen["key"] == 1
    assert seen["violations"] == []
    assert [each for each in seen["errors"] if "401" not in each] == []
    assert seen["kept"] == [[KEY], [], ""]
    assert not any(KEY in url for url in seen["requests"])
    assert "local:tiny" in seen["overview"]
