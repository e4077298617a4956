"""Uploads are decoded by other processes, which are ended when they take too long or the sender has left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import BinaryIO, cast

from intraclip.serve import decoding
from intraclip.serve.decoding import Picture, UndecodableError
from intraclip.serve.errors import Refused
from intraclip.serve.settings import DecodeLimits


class Decoders:
    """Processes that decode, started ahead: starting one takes longer than most pictures."""

    def __init__(self, limits: DecodeLimits, spare: int) -> None:
        self.limits = limits
        self._spare = spare
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._closed = False

    def prepare(self) -> None:
        """Start processes that wait, in the background."""
        with self._lock:
            while not self._closed and len(self._idle) + len(self._busy) < self._spare:
                self._idle.append(_Process())

    def take(self) -> _Process:
        """A process that waits, or a new one."""
        with self._lock:
            if self._closed:
                raise Refused(503, "the service is about to stop")
            found = self._idle.pop() if self._idle else _Process()
            if not found.alive:  # somebody has ended it
                found.close()
                found = _Process()
            self._busy.add(found)
            return found

    def give_back(self, process: _Process, *, usable: bool) -> None:
        """It has answered, or else is ended and replaced."""
        with self._lock:
            self._busy.discard(process)
            keep = usable and decoding.FORKS and not self._closed and len(self._idle) < self._spare
            if keep:
                self._idle.append(process)
        if not keep:
            process.end()
            process.close()
            self.prepare()

    def close(self) -> None:
        """End all of them; what they were doing is cut."""
        with self._lock:
            self._closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
        for process in (*idle, *busy):
            process.end()
        for process in idle:  # who uses a busy one gives it back
            process.close()


class Decoding:
    """One upload."""

    def __init__(self, decoders: Decoders, files: Callable[[], Sequence[bytes]]) -> None:
        self._decoders = decoders
        self._files = files
        self._process: _Process | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> list[Picture]:
        """The pictures, see `intraclip.serve.decoding.read_pictures`.

        Raises:
            Refused: they cannot be decoded, or not within the limits.
        """
        limits = self._decoders.limits
        request = decoding.pack(self._files(), limits)
        process = self._decoders.take()
        with self._lock:
            self._process = process
            if self._stopped:
                process.end()
        late = threading.Event()

        def too_late() -> None:
            late.set()
            process.end()

        timer = threading.Timer(limits.seconds, too_late)
        timer.daemon = True
        timer.start()
        usable = False
        try:
            pictures = process.ask(request)
            usable = True
            return pictures
        except UndecodableError as refusal:
            usable = True
            raise Refused(refusal.status, refusal.message) from None
        except (OSError, EOFError, ValueError):
            if late.is_set():
                reason = f"decoding takes longer than {limits.seconds} s"
            else:
                reason = f"decoding was ended: it takes too much ({limits.memory_bytes / 2**20:,.0f} MiB are allowed)"
            raise Refused(413, f"{reason}; send smaller or fewer files, or a shorter clip") from None
        finally:
            timer.cancel()
            with self._lock:
                self._process = None
            self._decoders.give_back(process, usable=usable)

    def stop(self) -> None:
        """End it from another thread; `run` raises then."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.end()


class _Process:
    """A process of `intraclip.serve.decoding`. Its standard error goes nowhere: the log is JSON."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            # Should anything but a known container reach FFmpeg, it opens no other file and no address.
            "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",  # a fork wants one thread
            "MALLOC_ARENA_MAX": "2",  # arenas are reserved by the 64 MiB, and count as memory
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "intraclip.serve.decoding"],  # -P: nothing from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the service, which ends them; and one signal ends the fork too
        )
        self._requests, self._answers = (
            cast(BinaryIO, self._process.stdin),
            cast(BinaryIO, self._process.stdout),
        )
        self._ending = threading.Lock()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: bytes) -> list[Picture]:
        """See `decoding.read_answer`; OSError where the process ended before it had read everything."""
        self._requests.write(request)
        self._requests.flush()
        return decoding.read_answer(self._answers)

    def end(self) -> None:
        """End it with all that it has begun; from any thread, more than once."""
        with self._ending:
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    if os.name == "posix":
                        os.killpg(self._process.pid, signal.SIGKILL)
                    else:
                        self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Close its pipes, once nobody reads them any more."""
        for pipe in (self._requests, self._answers):
            with suppress(OSError):
                pipe.close()
