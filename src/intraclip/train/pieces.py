"""Batches that do not fit into memory: the network sees them in pieces, the losses whole."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from intraclip.config import Recipe
from intraclip.core.distributed import World
from intraclip.data.clip_batch import ClipBatch
from intraclip.errors import ConfigError
from intraclip.models.embedder import ClipEmbedder, ClipOutput
from intraclip.models.second_pass import frozen_statistics
from intraclip.train.step import TrainingStep


def check_pieces(model: ClipEmbedder, recipe: Recipe, world: World) -> None:
    """Refuse pieces of one clip for a head that normalises over the clips of a piece: there is nothing to divide by."""
    clips = recipe.batch.identities * recipe.batch.clips // world.size
    if clips != recipe.step.pieces or (recipe.step.sync_batch_norm and world.size > 1):
        return
    head = copy.deepcopy(model.head).train()
    try:
        with torch.no_grad():
            head(torch.ones(1, recipe.clip.num_frames, model.num_features, 4, 2))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            f"step.pieces: {recipe.step.pieces} leaves one clip a piece of the {clips} clips of a process, and the "
            f"head {recipe.model.head} normalises over the clips of a piece; choose at most {clips // 2}"
        ) from None


def learn_in_pieces(
    step: TrainingStep, frames: torch.Tensor, batch: ClipBatch, number: int
) -> dict[str, torch.Tensor]:
    """Forward and backward of a batch, with triplets over all of it; returns what the loss logs.

    First pass: embeddings of all pieces, without graph. Loss and its gradient with respect to them. Second
    pass: each piece again, with graph, and the gradient handed down (Gao et al. 2021, "Scaling Deep Contrastive
    Learning Batch Size under Memory Limited Setup").
    """
    count = step.recipe.step.pieces
    pieces = list(zip(frames.chunk(count), batch.mask.chunk(count), strict=True))
    with torch.no_grad(), frozen_statistics([step.model]):
        outputs = [step.forward(step.model, *piece, number, place) for place, piece in enumerate(pieces)]
    auxiliary = [o.auxiliary_loss for o in outputs if o.auxiliary_loss is not None]
    mined = [o.parts for o in outputs if o.parts is not None]
    whole = ClipOutput(
        embedding=torch.cat([o.embedding for o in outputs]),
        triplet_features=torch.cat([o.triplet_features for o in outputs]).requires_grad_(),
        logits=torch.cat([o.logits for o in outputs]).requires_grad_(),
        auxiliary_loss=torch.stack(auxiliary).mean() if auxiliary else None,
        parts=torch.cat(mined).requires_grad_() if mined else None,
    )
    logged: dict[str, torch.Tensor]
    loss, logged = step.loss(whole, batch.labels)
    # a recipe need not ask for a loss of the parts
    found = torch.autograd.grad(
        step.scaler.scale(loss), _read(whole), allow_unused=True, materialize_grads=True
    )
    rows = zip(*(gradient.chunk(count) for gradient in found), strict=True)
    for place, (piece, gradients) in enumerate(zip(pieces, rows, strict=True)):
        exchange: AbstractContextManager[Any] = nullcontext()
        if isinstance(step.network, DistributedDataParallel) and place + 1 < count:
            exchange = step.network.no_sync()  # until the last piece gradients are added up
        with exchange:
            output = step.forward(step.network, *piece, number, place)
            heads = _read(output)
            seeds = [g.to(h.dtype) for g, h in zip(gradients, heads, strict=True)]
            if output.auxiliary_loss is not None:
                heads.append(output.auxiliary_loss)
                seeds.append(step.scaler.scale(torch.ones_like(output.auxiliary_loss) / count))
            torch.autograd.backward(heads, seeds)
    return logged


def _read(output: ClipOutput) -> list[torch.Tensor]:
    """What the losses read."""
    return [found for found in (output.triplet_features, output.logits, output.parts) if found is not None]
