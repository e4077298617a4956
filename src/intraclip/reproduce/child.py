"""Runs commands one after another, and stops them when the process that asked for them is gone.

Started as ``python -m intraclip.reproduce.child JSON`` with a pipe as standard input. The pipe closes when the other
end wants the commands to stop, and also when it dies, even by SIGKILL: so no training goes on behind the back of a
`reproduce` that is started again. The running command gets SIGTERM, which `intraclip train` answers with a checkpoint.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

PATIENCE = 120.0
"""Seconds that a command has to save itself."""


def run(commands: list[list[str]]) -> int:
    """Run commands until one fails.

    Args:
        commands: each as a list of words.

    Returns:
        Exit code of the last one that ran.
    """
    stopping = threading.Event()
    running: list[subprocess.Popen[bytes]] = []
    lock = threading.Lock()

    def watch() -> None:
        while os.read(
            0, 1
        ):  # empty once the pipe is closed; the buffer of sys.stdin would hold a lock at exit
            pass
        with lock:
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
        with lock:
            if stopping.is_set():
                return 143
            running[:] = [subprocess.Popen(command, stdin=subprocess.DEVNULL)]
        code = running[0].wait()
        if code:
            break
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(json.loads(sys.argv[1])))
