"""The shipped benchmark: a renderer of walking people, in the layouts of MARS, iLIDS-VID and PRID-2011.

`make_benchmark` draws identities and cameras from a seed and writes tracklets with their ground truth.
How a frame comes about: `identity` says who, `gait` moves the bones, `body` and `cloth` dress them,
`camera` and `scene` say where, `render` turns people into pixels, `sensor` makes a surveillance picture of
them, and `tracklet` puts it together with the nuisances. `layouts` names the files, `make` writes them.

`render_arrays` and `make_diverse` draw from wider settings, for training: the modules that begin with `diverse`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from intraclip.studio.config import BenchmarkConfig as BenchmarkConfig
from intraclip.studio.config import BenchmarkSummary as BenchmarkSummary
from intraclip.studio.config import Difficulty as Difficulty
from intraclip.studio.config import Diverse as Diverse
from intraclip.studio.config import DiverseConfig as DiverseConfig

if TYPE_CHECKING:
    from intraclip.studio.diverse import DiverseArrays as DiverseArrays
    from intraclip.studio.diverse import render_arrays as render_arrays
    from intraclip.studio.make import make_benchmark as make_benchmark
    from intraclip.studio.make import make_diverse as make_diverse

_PLACES = {
    "DiverseArrays": "diverse",
    "make_benchmark": "make",
    "make_diverse": "make",
    "render_arrays": "diverse",
}
__all__ = ["BenchmarkConfig", "BenchmarkSummary", "Difficulty", "Diverse", "DiverseConfig", *_PLACES]


def __getattr__(name: str) -> Any:
    # The settings are light, the renderer is not: the command line reads them to print its help.
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
