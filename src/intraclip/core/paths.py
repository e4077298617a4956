"""Names of files: what is no content, and links for libraries that take UTF-8 alone.

At other names OpenCV ends the process, and ONNX Runtime raises TypeError.
"""

from __future__ import annotations

from pathlib import Path

_LEFT_BY_SYSTEMS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information")


def is_hidden(name: str) -> bool:
    """Whether a name is none of a user's: hidden, or left by a file manager, an archiver or a disk station.

    >>> [is_hidden(name) for name in (".DS_Store", "._000001.jpg", "__MACOSX", "@eaDir", "000001.jpg")]
    [True, True, True, True, False]
    """
    return name.startswith(".") or name in _LEFT_BY_SYSTEMS


def is_utf8(path: Path) -> bool:
    """Whether a path can be written as UTF-8; old archives and disks bring names that cannot."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
