"""Runs commands one after another, and stops them when the process that asked for them is gone.

Started as ``python -m intraclip.lab.reproduce.supervise JSON LOCK`` with a pipe as standard input. The pipe closes when
the other end wants the commands to stop, and also when it dies, even by SIGKILL: so no training goes on behind the back
of a `reproduce` that is started again. The running command gets SIGTERM, which `intraclip train` answers with a
checkpoint; the file LOCK is held until it has ended, so that the next one waits for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

from intraclip.core.locks import hold

PATIENCE = 120.0
"""Seconds that a command has to save itself."""


def run(commands: list[list[str]], lock: Path) -> int:
    """Run commands until one fails."""
    try:
        held = hold(lock, patience=2 * PATIENCE)
    except BlockingIOError:
        print(f"another process is still at work here and holds {lock}", file=sys.stderr)
        return 2
    stopping = threading.Event()
    running: list[subprocess.Popen[bytes]] = []
    order = threading.Lock()

    def watch() -> None:
        while os.read(0, 1):
            # empty once the pipe is closed; the buffer of sys.stdin would hold a lock at exit
            pass
        with order:
            stopping.set()
            for process in running:
                process.terminate()
        for process in running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    threading.Thread(target=watch, daemon=True).start()
    code = 0
    for command in commands:
        with order:
            if stopping.is_set():
                return 143
            running[:] = [subprocess.Popen(command, stdin=subprocess.DEVNULL)]
        code = running[0].wait()
        if code:
            break
    if held is not None:
        held.close()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(json.loads(sys.argv[1]), Path(sys.argv[2])))
