"""Heads: how the feature maps of a clip become one embedding. One file a method."""

from __future__ import annotations

from collections.abc import Callable

from intraclip.config import ModelConfig
from intraclip.errors import ConfigError
from intraclip.models.heads.amoc import AMOC
from intraclip.models.heads.amoc_rnn import AMOCRNN
from intraclip.models.heads.base import FrameHead as FrameHead
from intraclip.models.heads.base import Head as Head
from intraclip.models.heads.base import HeadOutput as HeadOutput
from intraclip.models.heads.drsa import DRSA
from intraclip.models.heads.gao_rnn import GaoRNN
from intraclip.models.heads.gao_ta import GaoTA
from intraclip.models.heads.gem import GeM, SpaceGeM
from intraclip.models.heads.gltr import GLTR
from intraclip.models.heads.ica import ICA
from intraclip.models.heads.neck import with_neck
from intraclip.models.heads.nonlocal3d import NonLocal3D
from intraclip.models.heads.qan import QAN
from intraclip.models.heads.sequence import SequenceHead as SequenceHead
from intraclip.models.heads.sta import STA
from intraclip.models.heads.stmp import STMP
from intraclip.models.heads.stripes import Stripes
from intraclip.models.heads.tap import TAP
from intraclip.models.heads.transformer import TemporalTransformer
from intraclip.models.heads.trl import TRL

HEADS: dict[str, Callable[[int, ModelConfig], Head]] = {
    "tap": lambda features, config: TAP(features),
    "ica": lambda features, config: ICA(
        features,
        reduction=config.ica_reduction,
        expansion=config.ica_expansion,
        order=config.ica_order,
    ),
    "qan": lambda features, config: QAN(features),
    "gao_ta": lambda features, config: GaoTA(features),
    "gao_rnn": lambda features, config: GaoRNN(features),
    "drsa": lambda features, config: DRSA(features),
    "trl": lambda features, config: TRL(features),
    "stmp": lambda features, config: STMP(features),
    "sta": lambda features, config: STA(features),
    "gltr": lambda features, config: GLTR(features),
    "nonlocal3d": lambda features, config: NonLocal3D(features),
    "amoc": lambda features, config: AMOC(features),
    "amoc_rnn": lambda features, config: AMOCRNN(features),
    "transformer": lambda features, config: TemporalTransformer(features),
    "gem": lambda features, config: GeM(features),
    "stripes": lambda features, config: Stripes(
        features, stripes=config.stripes, embedding_size=config.stripes_size
    ),
}
"""Of the paper's Table 3, STSRN [13] is missing: nothing public describes its layers (docs/heads.md)."""


def heads() -> tuple[str, ...]:
    """Names of all heads, as `model.head` in a recipe takes them; docs/heads.md describes them.

    >>> heads()[:4]
    ('tap', 'ica', 'qan', 'gao_ta')
    """
    return tuple(HEADS)


def build_head(num_features: int, config: ModelConfig) -> Head:
    """Build the head that `config.head` names, with the neck that `config.neck` asks for.

    Raises:
        ConfigError: unknown name.
    """
    if config.head not in HEADS:
        raise ConfigError(f"model.head: {config.head!r} is not one of {', '.join(HEADS)}")
    head = HEADS[config.head](num_features, config)
    if config.pooling == "gem":
        if not isinstance(head, FrameHead):
            raise ConfigError(
                f"model.pooling: the head {config.head} does not read one vector a frame alone; leave it at mean"
            )
        head.pool_space_with(SpaceGeM())
    return with_neck(head, search_before=config.neck_test == "before") if config.neck == "bn" else head
