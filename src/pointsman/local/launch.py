"""Starts a command so that it dies with its parent. Run as a file: `launch.py PARENT COMMAND …`.

On Linux the process asks to be killed with its parent, and becomes the command. Elsewhere it stays
beside the command and ends it when standard input does. The command writes all to standard error.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1  # Linux, <linux/prctl.h>; it outlives exec.


def main() -> None:
    """Become, or mind, the command in the arguments."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # It died before the call above.
                os._exit(1)
            os.dup2(2, 1)
            os.execvp(command[0], command)  # noqa: S606  # what the parent asked for
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)  # noqa: S603  # as above
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")

    def mind() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    threading.Thread(target=mind, daemon=True).start()
    sys.exit(child.wait())


if __name__ == "__main__":
    main()
