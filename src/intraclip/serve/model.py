"""The gallery's model as the maker of queries.

The only file here that needs torch: a service without a model starts at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from intraclip.config import ClipConfig
from intraclip.embed.extractors import Extractor, ExtractSettings
from intraclip.embed.network import Network
from intraclip.gallery.queries import Picture


class ModelEmbedder:
    """The gallery's model."""

    def __init__(self, extractor: Extractor, clip: ClipConfig) -> None:
        self._network = Network(extractor, ExtractSettings(clip=clip))
        self.fingerprint = self._network.fingerprint

    def embed(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        """See `Embedder`."""
        return self._network.embed([list(pictures)])[0]
