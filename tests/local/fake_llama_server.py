"""Plays `llama-server`: takes its arguments, answers /health, and misbehaves as its mode says.

Run as: fake_llama_server.py MODE NOTES ARGUMENTS… It leaves its arguments and environment as JSON
in a new file of the folder NOTES.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
import time
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = self.path == "/health" and time.monotonic() > READY_AT
        body = b'{"status":"ok"}' if ready else b'{"error":{"code":503,"message":"Loading model"}}'
        self.send_response(200 if ready else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form: str, *rest: object) -> None:
        print("srv log_server_r: request", flush=True)


MODE, NOTES, ARGUMENTS = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
if "--help" in ARGUMENTS:
    print("-m,    --model FNAME                    a file")
    print("--ctx-checkpoints N                     how many")
    print("--mmap, --no-mmap                       map it")
    sys.exit()
earlier = len(list(NOTES.iterdir()))
note = NOTES / f"{earlier}.json"
note.with_suffix(".new").write_text(
    json.dumps({"pid": os.getpid(), "arguments": ARGUMENTS, "environment": dict(os.environ)})
)
note.with_suffix(".new").rename(note)
READY_AT = time.monotonic() + {"slow": 0.2, "never": 1e9}.get(MODE, 0.0)
if MODE == "broken" or (MODE == "broken-once" and earlier == 0):
    sys.exit("error: unknown tensor type")
port = int(ARGUMENTS[ARGUMENTS.index("--port") + 1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
print("srv llama_server: listening on", flush=True)
if MODE != "silent":
    # In two pieces, as a pipe may give them.
    sys.stdout.write(
        f"srv llama_server: listening on http://127.0.0.1:{str(server.server_port)[:2]}"
    )
    sys.stdout.flush()
    time.sleep(0.02)
    print(f"{str(server.server_port)[2:]}", flush=True)
if MODE == "ends":
    sys.exit("error: no memory for the cache")
server.serve_forever()
