"""Pages in headless Chromium: a folder served on this machine, and a function run in its page."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from golden_tools import call, fetched, program

# Opens a page, runs a function in it, and gives its value with all that went wrong or went out.
DRIVER = """
import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox"] });
const page = await browser.newPage({
  viewport: { width: task.width, height: task.height }, colorScheme: task.scheme,
});
const errors = [], requests = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
page.on("request", (request) => requests.push(request.url()));
await page.goto(task.address);
const value = await page.evaluate(`(${task.script})(${JSON.stringify(task.argument)})`);
if (task.screenshot) await page.screenshot({ path: task.screenshot, fullPage: true });
await browser.close();
writeFileSync(task.out, JSON.stringify({ value, errors, requests }));
"""


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
            return
        super().do_GET()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def in_chromium(
    address: str,
    script: str,
    argument: Any,
    folder: Path,
    *,
    width: int = 1000,
    height: int = 800,
    scheme: str = "light",
    screenshot: Path | None = None,
) -> dict[str, Any]:
    """Give `value`, `errors` and `requests` of a page after `script`, a JavaScript function."""
    node, chromium = program("node"), program("chromium", "chromium-browser", "google-chrome")
    modules = fetched("node", "node_modules")
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules)
    (folder / "driver.mjs").write_text(DRIVER)
    task = {
        "address": address,
        "script": script,
        "argument": argument,
        "chromium": chromium,
        "width": width,
        "height": height,
        "scheme": scheme,
        "screenshot": None if screenshot is None else str(screenshot),
        "out": str(folder / "answer.json"),
    }
    (folder / "task.json").write_text(json.dumps(task))
    call([node, "driver.mjs", "task.json"], cwd=folder)
    found: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    return found
