"""The process itself: settings that make training on a CPU faster.

Measured by `benchmarks/process.py`: a training step of the recipe `cpu-ablation` on two cores.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers of mallopt(3)."""


def tune(*, lasting: bool = False) -> None:
    """Make the process keep memory it has freed, and its threads sleep where they would spin.

    By default glibc hands every large block back to the kernel and faults it in again page by page, tens of
    thousands of times a step; and OpenMP's threads spin while they wait, which costs far more than it gains as soon
    as another process wants the core. Call it before torch is imported: OpenMP reads its setting once. Environment
    variables that are set already win. Elsewhere than on Linux with glibc only the OpenMP part does something.

    Args:
        lasting: the process runs for days and gives memory back as usual. Kept, it grows with every video that is
            opened in a thread: by 20 MiB from the 96th to the 384th, and not at all as usual.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if lasting or not sys.platform.startswith("linux") or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl's
        return
    mallopt(_M_MMAP_THRESHOLD, 2**25 - 1)  # the largest that glibc takes
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**27)
