"""The shipped benchmark: a renderer of walking people, in the layouts of MARS, iLIDS-VID and PRID-2011.

`make_benchmark` draws identities and cameras from a seed and writes tracklets with their ground truth.
How a frame comes about: `identity` says who, `gait` moves the bones, `body` and `cloth` dress them,
`camera` and `scene` say where, `render` turns people into pixels, `sensor` makes a surveillance picture of
them, and `tracklet` puts it together with the nuisances. `layouts` names the files, `make` writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from intraclip.data.benchmark.config import BenchmarkConfig as BenchmarkConfig
from intraclip.data.benchmark.config import BenchmarkSummary as BenchmarkSummary
from intraclip.data.benchmark.config import Difficulty as Difficulty

if TYPE_CHECKING:
    from intraclip.data.benchmark.make import load_silhouettes as load_silhouettes
    from intraclip.data.benchmark.make import make_benchmark as make_benchmark

__all__ = ["BenchmarkConfig", "BenchmarkSummary", "Difficulty", "load_silhouettes", "make_benchmark"]


def __getattr__(name: str) -> Any:
    # The settings are light, the renderer is not: the command line reads them to print its help.
    if name in __all__:
        from intraclip.data.benchmark import make

        return getattr(make, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
