"""Work that can be interrupted: what it was begun with, whether that is still so, and who is at it.

What decides a result is written into one file before the first of it is made. A second run reads it: the same again
goes on, anything else is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from intraclip.core.files import write_text
from intraclip.core.folders import make_folder
from intraclip.core.locks import locked
from intraclip.errors import OutputError

LOCK = "lock"
"""Name of the file that is locked."""


class Job:
    """One piece of work.

    Args:
        file: holds its settings.
        settings: what decides the result, by name, as JSON can hold it.
        out: what is made, for messages.
        anew: how to begin anew, for messages: "use the same again, or {anew}".
    """

    def __init__(self, file: Path, settings: Mapping[str, Any], *, out: Path, anew: str) -> None:
        self.file = file
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.out = out
        self.anew = anew
        self._held = ExitStack()

    @property
    def begun(self) -> bool:
        """Whether the file is there."""
        return self.file.is_file()

    def begin(self, content: Mapping[str, Any] | None = None) -> None:
        """Write the file, with more `content` than the settings where there is some; of several processes only one can.

        Raises:
            OutputError: another process has begun, or it cannot be written.
        """
        taken = f"another process is at work on {self.out}: it began just now; wait for it"
        text = json.dumps(self.settings if content is None else content, indent=2) + "\n"
        write_text(self.file, text, replace=False, taken=taken)

    def read(self, file: Path | None = None) -> dict[str, Any]:
        """Content of the file, or of another that holds settings; OutputError where it is damaged."""
        file = file or self.file
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise OutputError(f"{file} is damaged: {error}; {self.anew}") from None

    def require_same(self, before: Any) -> None:
        """Refuse settings that are not those of the work that is there by an OutputError that says what differs."""
        if not isinstance(before, dict):
            raise OutputError(f"{self.out} was begun by an older version; {self.anew}")
        changes = differences(before, self.settings)
        if changes:
            more = f" and {len(changes) - 8} more" if len(changes) > 8 else ""
            raise OutputError(
                f"{self.out} was begun with something else: {'; '.join(changes[:8])}{more}; use the same again, or "
                f"{self.anew}"
            )

    def hold(self) -> None:
        """Keep other processes away until `close`, or the end of this one.

        Raises:
            OutputError: another process is at work, or the folder cannot be written.
        """
        taken = f"another process is at work on {self.out}; wait for it, or give another folder"
        self._held.enter_context(locked(self.file.with_name(LOCK), taken=taken))

    def close(self) -> None:
        """Let another process have it."""
        self._held.close()


@contextmanager
def alone(out: Path, *, remove: bool = False) -> Iterator[None]:
    """Keep other processes out of an output folder, which is made; `remove` takes the lock's file away in the end.

    Raises:
        OutputError: another process is at work there, or it cannot be written.
    """
    make_folder(out)
    taken = f"another process is at work on {out}; wait for it, or choose another --out"
    with locked(out / LOCK, taken=taken):
        try:
            yield
        finally:
            if remove:
                with suppress(OSError):  # a file more does no harm
                    (out / LOCK).unlink(missing_ok=True)


def differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Where two JSON values differ.

    >>> differences({"clip": {"frames": 8}, "seed": 1}, {"clip": {"frames": 5}, "seed": 1})
    ['clip.frames: 8 -> 5']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in {**before, **now}
            for line in differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True), start=1)
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{name} {i}")]
    return [] if before == now else [f"{name}: {_short(before)} -> {_short(now)}"]


def _short(value: Any) -> str:
    if isinstance(value, list):
        value = [v.get("name", v) if isinstance(v, dict) else v for v in value]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
