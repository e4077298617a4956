"""The gallery's model as the maker of queries.

The only file here that needs torch: a service without a model starts at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from intraclip.config import ClipConfig
from intraclip.embed.extractors import Extractor
from intraclip.gallery.queries import Picture, embed_pictures


class ModelEmbedder:
    """The gallery's model.

    Args:
        extractor: see `intraclip.embed.extract.open_extractor`.
        clip: how tracklets are sampled.
    """

    def __init__(self, extractor: Extractor, clip: ClipConfig) -> None:
        self._extractor = extractor
        self._clip = clip
        self.fingerprint = extractor.fingerprint(clip)

    def embed(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """See `Embedder`."""
        return embed_pictures(self._extractor, pictures, self._clip)
