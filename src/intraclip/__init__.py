"""Video person re-identification: Intra-Clip Aggregation and Synchronous Data Augmentation.

::

    import intraclip as ic

    net = ic.load("base")                                # the network that comes with the package, or your own
    e = net.embed(clips)                                 # arrays uint8 [T, H, W, 3], folders of frames, tracklets
    ic.similarity(e[0], e[1])

`docs/library.md` shows everything that is named here. A name is loaded when it is first used, so that the import itself
takes no time; what is not named here may change from version to version.
"""

from importlib import import_module as _import_module
from os import environ as _environ
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Nothing leaves this machine: ONNX Runtime tells its makers how it is used (1.31 does in Linux too), unless this is set
# before it is loaded.
_environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from intraclip.adapt.adapting import adapt as adapt
    from intraclip.config import Recipe as Recipe
    from intraclip.data.lift import lift as lift
    from intraclip.data.readers import read_split
    from intraclip.data.sda import SDA as SDA
    from intraclip.embed.evaluate import evaluate as evaluate
    from intraclip.embed.network import Network as Network
    from intraclip.embed.network import load as load
    from intraclip.errors import IntraclipError as IntraclipError
    from intraclip.gallery.gallery import Gallery as Gallery
    from intraclip.ingest.pipeline import ingest as ingest
    from intraclip.link.linking import link as link
    from intraclip.losses.triplet import BatchHardTriplet as BatchHardTriplet
    from intraclip.losses.triplet import batch_hard_triplet as batch_hard_triplet
    from intraclip.metrics.embeddings import Embeddings as Embeddings
    from intraclip.metrics.scoring import score as score
    from intraclip.metrics.similarity import similarity as similarity
    from intraclip.models.heads import heads as heads
    from intraclip.models.heads.ica import ICA as ICA
    from intraclip.models.heads.tap import TAP as TAP
    from intraclip.train.loop import train as train
    from intraclip.types import Split as Split
    from intraclip.types import Tracklet as Tracklet

    read = read_split

_PLACES = {
    "ICA": "models.heads.ica",
    "SDA": "data.sda",
    "TAP": "models.heads.tap",
    "BatchHardTriplet": "losses.triplet",
    "Embeddings": "metrics.embeddings",
    "Gallery": "gallery.gallery",
    "IntraclipError": "errors",
    "Network": "embed.network",
    "Recipe": "config",
    "Split": "types",
    "Tracklet": "types",
    "batch_hard_triplet": "losses.triplet",
    "evaluate": "embed.evaluate",
    "heads": "models.heads",
    "lift": "data.lift",
    "load": "embed.network",
    "read": "data.readers",
    "score": "metrics.scoring",
    "similarity": "metrics.similarity",
}
_CALLABLE_PACKAGES = ("adapt", "ingest", "link", "train")
_OTHER_NAMES = {"read": "read_split"}
__all__ = [*_PLACES, *_CALLABLE_PACKAGES]


def __getattr__(name: str) -> object:
    if name in _CALLABLE_PACKAGES:
        return _import_module(f"intraclip.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'intraclip' has no attribute {name!r}")
    found = getattr(_import_module(f"intraclip.{_PLACES[name]}"), _OTHER_NAMES.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
