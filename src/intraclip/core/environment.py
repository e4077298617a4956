"""What machine, and which versions, a result was made with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, to be written beside every result."""
    import torch  # takes seconds, and versions alone do without

    names = ("intraclip", "torch", "torchvision", "numpy", "opencv-python-headless", "simplejpeg")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "packages": dict.fromkeys(names, "not installed as a package") | versions(*names),
        "commit": _commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def versions(*packages: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str:
    """Commit of the source tree this package runs from; empty for an installed wheel.

    ``-dirty`` is appended when its files were changed, and ``+untracked`` when there are new ones among the sources.
    """
    if "site-packages" in Path(__file__).parts:  # the repository around it, if any, is somebody else's
        return ""
    commit = _git("describe", "--always", "--dirty", "--abbrev=12")
    # `--dirty` does not see new files, which a run may well import.
    status = _git("status", "--porcelain", "--untracked-files=normal", "--", ".") if commit else ""
    return commit + ("+untracked" if any(line.startswith("??") for line in status.splitlines()) else "")


def _git(*arguments: str) -> str:
    """What a git command prints in the folder above the package, `src`; nothing when it cannot be asked."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parents[2],
            # Runs that start must not stand in the way of a commit.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
