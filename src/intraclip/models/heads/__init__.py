"""Heads: how the feature maps of a clip become one embedding. One file a method."""

from __future__ import annotations

from intraclip.core.registry import Registry

HEADS = Registry(
    "model.head",
    __name__,
    {
        "tap": "tap:TAP",
        "ica": "ica:ICA",
        "qan": "qan:QAN",
        "gao_ta": "gao_ta:GaoTA",
        "gao_rnn": "gao_rnn:GaoRNN",
        "drsa": "drsa:DRSA",
        "trl": "trl:TRL",
        "stmp": "stmp:STMP",
        "sta": "sta:STA",
        "gltr": "gltr:GLTR",
        "nonlocal3d": "nonlocal3d:NonLocal3D",
        "amoc": "amoc:AMOC",
        "amoc_rnn": "amoc_rnn:AMOCRNN",
        "transformer": "transformer:TemporalTransformer",
        "gem": "gem:GeM",
        "stripes": "stripes:Stripes",
    },
    settings="settings",
)
"""Name -> file and class; of the paper's Table 3, STSRN [13] is missing: nothing public describes its layers."""


def heads() -> tuple[str, ...]:
    """Names of all heads, as `model.head` in a recipe takes them; docs/heads.md describes them.

    >>> heads()[:4]
    ('tap', 'ica', 'qan', 'gao_ta')
    """
    return tuple(HEADS)
