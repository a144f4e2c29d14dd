"""A run of the teacher's way in a process of its own, to be killed: `URL OUT ROWS`."""

from __future__ import annotations

import sys
from pathlib import Path

from teaching_site import teach

if __name__ == "__main__":
    outcome = teach(sys.argv[1], Path(sys.argv[2]), rows=int(sys.argv[3]), parallel=4)
    print(len(outcome.kept))
