"""Every error that intraclip raises on purpose.

::

    IntraclipError                 something the user can mend; the command line prints it and exits with 2
    ├── ConfigError                a recipe or a flag: unknown key, wrong type, value out of range
    ├── DataError                  a data set, a tracklet, a frame or an embeddings file
    │   ├── FrameError             one frame that cannot be read; carries its path
    │   └── DamagedError           a gallery whose files are not what was written
    ├── CheckpointError            a file that is no checkpoint, or one of another format or model
    ├── OutputError                an output folder or file that would be overwritten, or cannot be written
    ├── DeviceError                a device that is not there
    └── MissingExtraError          an optional dependency that is not installed; names the install command

A message says what is wrong, where, which value was found, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class IntraclipError(Exception):
    """Base class: something the user can mend.

    >>> import intraclip as ic
    >>> try:
    ...     ic.train("papr", data="MARS", out="run")
    ... except ic.IntraclipError as error:
    ...     print(type(error).__name__, error)
    ConfigError unknown recipe 'papr' (did you mean 'paper'?): it is no file, and the ...
    """


class ConfigError(IntraclipError):
    """A recipe or a flag is wrong. The message lists all problems at once."""


class DataError(IntraclipError):
    """A data set, a tracklet or an embeddings file is missing, inconsistent or corrupt."""


class FrameError(DataError):
    """One frame cannot be read.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"cannot read the frame {path}: {reason}")

    def __reduce__(self) -> tuple[type[FrameError], tuple[Path, str]]:
        # Errors cross process borders in data loader workers; the default would pass only the message.
        return type(self), (self.path, self.reason)


class DamagedError(DataError):
    """What was written cannot be read as it was: a disk failed, or somebody changed the files."""


class CheckpointError(IntraclipError):
    """A file is no checkpoint, is damaged, or belongs to another format version or model."""


class OutputError(IntraclipError):
    """An output would overwrite something, or cannot be written."""


class DeviceError(IntraclipError):
    """The requested device is not available."""


class MissingExtraError(IntraclipError):
    """A part needs an optional dependency that is not installed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known: the one it is most like, or nothing.

    >>> did_you_mean("galery", ["gallery", "link"]), did_you_mean("x", ["gallery", "link"])
    (" (did you mean 'gallery'?)", '')
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def first_line(error: BaseException) -> str:
    """What somebody else's error says first, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
