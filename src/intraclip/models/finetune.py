"""What of a network learns, and how fast: frozen blocks, kept statistics, layer-wise rates."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from intraclip.config import FinetuneConfig
from intraclip.errors import ConfigError
from intraclip.models.embedder import ClipEmbedder


def set_trainable(model: ClipEmbedder, config: FinetuneConfig, *, epoch: int) -> bool:
    """Put a network in training mode into the state that an epoch wants.

    What is frozen gets no gradient, and its modules are in evaluation mode: batch normalisation uses the statistics
    that it has and learns no new ones, dropout is off.

    Returns:
        Whether other parameters learn now than before.

    Raises:
        ConfigError: the backbone has fewer blocks.
    """
    backbone = model.backbone
    whole = epoch < config.head_epochs
    blocks = backbone.block_names() if config.freeze_blocks else []
    if config.freeze_blocks > len(blocks):
        raise ConfigError(
            f"finetune.freeze_blocks: {config.freeze_blocks} is too large, {model.config.backbone} has {len(blocks)} "
            "blocks"
        )
    frozen = {name for block in blocks[: config.freeze_blocks] for name in block}
    changed = False
    for name, parameter in backbone.named_parameters():
        learns = not whole and name not in frozen and name not in backbone.unused
        changed = changed or parameter.requires_grad != learns
        parameter.requires_grad_(learns)
    backbone.train(not whole)
    if not whole:
        for module in backbone.modules():
            own = list(module.parameters())
            kept = bool(frozen) and own and not any(parameter.requires_grad for parameter in own)
            if kept or (config.freeze_batch_norm and isinstance(module, _NormBase)):
                module.eval()
    return changed


def parameter_groups(model: ClipEmbedder, config: FinetuneConfig) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters with the factor of their learning rate; one group where all learn alike."""
    if config.body_rate == 1 and config.block_decay == 1:
        return [(list(model.parameters()), 1.0)]
    body = dict(model.backbone.named_parameters())
    taken = {id(parameter) for parameter in body.values()}
    groups = [([p for p in model.parameters() if id(p) not in taken], 1.0)]
    if config.block_decay == 1:
        return [*groups, (list(body.values()), config.body_rate)]
    blocks = model.backbone.block_names()
    for number, block in enumerate(blocks):
        factor = config.body_rate * config.block_decay ** (len(blocks) - 1 - number)
        groups.append(([body[name] for name in block], factor))
    return groups
