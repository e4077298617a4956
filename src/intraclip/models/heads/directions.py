"""Directions that are taken out of the embeddings of a head, by changing its last linear layer."""

from __future__ import annotations

import torch
from torch import nn

from intraclip.models.heads.base import Head
from intraclip.models.heads.ica import ICA
from intraclip.models.heads.stripes import Stripes


@torch.no_grad()
def take_out(head: Head, directions: torch.Tensor) -> bool:
    """Let embeddings lie across directions, orthonormal ``[D, C]``.

    Returns:
        Whether it could be done; heads whose last layer is not linear cannot.
    """
    if isinstance(head, Stripes):
        weight, bias = head.project.weight, head.project.bias
    elif isinstance(head, ICA):
        last, norm = head.bottleneck[-2], head.bottleneck[-1]
        assert isinstance(last, nn.Linear)
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        # What the normalisation scales is scaled by the layer before it from now on.
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        last.weight.mul_(gain.unsqueeze(1))
        norm.bias.sub_(gain * norm.running_mean)
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0)
        norm.weight.fill_((1.0 + norm.eps) ** 0.5)
        weight, bias = last.weight, norm.bias
    else:
        return False
    for values in (weight, bias):
        values.sub_(directions @ (directions.T @ values))
    return True
