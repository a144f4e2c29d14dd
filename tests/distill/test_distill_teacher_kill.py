"""A run that is killed (-9) again and again goes on each time, and pays no answer twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from pointsman.distill.teacher.ledger import Ledger
from pointsman.testing import FakeProvider, ScriptedTeacher

HERE = Path(__file__).parent
ROWS = "120"
KILLS = 7


def start(url: str, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "teaching_process.py"), url, str(out), ROWS]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)])}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_killed_at_many_moments_it_pays_nothing_twice(tmp_path: Path) -> None:
    chooser = random.Random(20261124)
    script = ScriptedTeacher("support", delay_s=0.02)
    journal = tmp_path / "journal.jsonl"
    in_flight = 0
    before = b""
    with FakeProvider(script) as fake:
        for _ in range(KILLS):
            process = start(fake.url, tmp_path)
            target = len(fake.requests) + chooser.randint(1, 5)
            while len(fake.requests) < target and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chooser.random() * 0.03)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            now = journal.read_bytes()
            whole = now[: now.rfind(b"\n") + 1]
            assert now.startswith(before)  # What was there is there, to the byte.
            before = whole
            in_flight = whole.count(b'"kind":"ask"') - whole.count(b'"kind":"answer"')
        process = start(fake.url, tmp_path)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert int(output) >= int(ROWS)
    twice = sum(script.paid.values()) - len(script.paid)
    assert twice <= in_flight
    assert 0 < in_flight <= 4 * KILLS
    with Ledger(journal) as ledger:
        # Each answer that was paid is kept, but for those that a kill caught on their way.
        assert len(script.paid) == ledger.calls
