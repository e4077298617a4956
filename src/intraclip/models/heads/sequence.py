"""What heads share that read the frames of a clip one by one: padding, attention over time, non-local blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from intraclip.models.heads.base import Head, HeadOutput, whole_mask

GRID = (8, 4)
"""Height and width of the maps that a ResNet makes of 256 x 128 pixels. Layers as large as a map have this size;
maps of another size are averaged to it, see `to_grid`."""


class SequenceHead(Head):
    """A head that reads one vector a frame, but more of them than their mean: their order, or their worth.

    Attributes:
        num_features: F, size of the frame vectors that it reads.
    """

    num_features: int

    def aggregate(self, features: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """Aggregate clips of frame vectors ``[B, T, F]``, packed: see `pack_frames`."""
        raise TypeError(f"{type(self).__name__} defines no aggregate")

    def forward(self, maps: torch.Tensor, mask: torch.Tensor | None = None) -> HeadOutput:
        """See `Head.forward`: the spatial mean of each frame, packed, then `aggregate`."""
        return self.aggregate(*pack_frames(maps.mean(dim=(3, 4)), mask))


def pack_frames(x: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Move the valid frames of each clip to its front, in order, and fill the rest with its last valid frame.

    What the padding held is never read. The rest is filled and not zeroed because batch normalisation sees it in
    training, where zeros would not look like frames; the backbone's layers see repeated frames there, too.

    Args:
        x: ``[B, T, ...]``.
        mask: bool ``[B, T]``, with at least one True a clip; None: every frame is valid.

    Returns:
        The packed ``[B, T, ...]`` and its mask ``[B, T]``.

    >>> packed, mask = pack_frames(torch.tensor([[7, 1, 2, 9]]), torch.tensor([[False, True, True, False]]))
    >>> packed.tolist(), mask.tolist()
    ([[1, 2, 2, 2]], [[True, True, False, False]])
    """
    mask = whole_mask(x, mask)
    clips, frames = mask.shape
    position = torch.arange(frames, device=mask.device)
    valid = mask.sum(dim=1, keepdim=True)
    rank = mask.cumsum(dim=1) - 1
    wanted = torch.minimum(position, valid - 1)
    chosen = mask.unsqueeze(1) & (rank.unsqueeze(1) == wanted.unsqueeze(2))
    source = (chosen * position).sum(dim=2)
    rows = source + frames * torch.arange(clips, device=mask.device).unsqueeze(1)
    packed = x.flatten(0, 1).index_select(0, rows.flatten()).reshape(clips, frames, *x.shape[2:])
    return packed, position < valid


def pack_maps(maps: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """`pack_frames` for maps ``[B, T, F, h, w]``; the result's memory is channels-last, as convolutions like it."""
    packed, packed_mask = pack_frames(maps.permute(0, 1, 3, 4, 2), mask)
    return packed.permute(0, 1, 4, 2, 3), packed_mask


def clear_padding(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """``[B, T, ...]`` with zeros in place of padding, as beyond the ends of a clip: what a convolution wants to see."""
    return x.masked_fill(~over(mask, x), 0.0)


def with_neighbours(maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Each frame's maps joined with those of the frame before and the frame after it, zeros beyond the ends.

    A 2-D convolution k x k of the result is a 3-D convolution 3 x k x k of the clip, with as many weights and
    operations. Its weights have four dimensions; with five, a network cannot be put into channels-last memory.

    Maps ``[B, T, C, h, w]`` become ``[B * T, 3 C, h, w]``.
    """
    cleared = clear_padding(maps.permute(0, 1, 3, 4, 2), mask)
    padded = F.pad(cleared, (0, 0, 0, 0, 0, 0, 1, 1))
    joined = torch.cat([padded[:, :-2], cleared, padded[:, 2:]], dim=4)
    return joined.flatten(0, 1).permute(0, 3, 1, 2)


def over(mask: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """A mask ``[B, T]`` with as many dimensions as `x` has, ``[B, T, 1, ...]``."""
    return mask.reshape(*mask.shape, *(1,) * (x.ndim - 2))


def softmax_over_time(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Softmax of scores ``[B, T, ...]`` over the valid frames; padding gets weight 0."""
    return scores.masked_fill(~over(mask, scores), float("-inf")).softmax(dim=1)


def to_grid(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps ``[N, C, h, w]`` averaged (or repeated) to ``[N, C, *size]``; maps of this size come back as they are."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.adaptive_avg_pool2d(maps, size)


Step = Callable[[tuple[torch.Tensor, ...], torch.Tensor], tuple[tuple[torch.Tensor, ...], torch.Tensor]]
"""State and the input of one frame -> the next state and the output of this frame."""


def walk(step: Step, state: tuple[torch.Tensor, ...], inputs: torch.Tensor) -> torch.Tensor:
    """Take one step a frame.

    Python walks; where a network is exported, torch's `scan` does, so that the exported one takes clips of any length.

    Args:
        step: what to do with a frame. The new state has the shapes and types of the old one, in fresh memory.
        state: before the first frame.
        inputs: ``[B, T, ...]``.
    """
    if torch.compiler.is_compiling():
        from torch._higher_order_ops.scan import scan

        walked: torch.Tensor = scan(lambda s, x: _own(*step(s, x)), _own(state, state[0])[0], inputs, dim=1)[
            1
        ]
        return walked
    steps = []
    for x in inputs.unbind(dim=1):
        state, output = step(state, x)
        steps.append(output)
    return torch.stack(steps, dim=1)


def accumulate(read: torch.Tensor, recall: nn.Module) -> torch.Tensor:
    """A recurrence without gates: ``o_t = c_t + recall(tanh(o_(t-1)))``, ``tanh(o_0) = 0``; c and o ``[B, T, D]``."""

    def step(
        state: tuple[torch.Tensor, ...], given: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        output = given + recall(*state)
        return (output.tanh(),), output

    return walk(step, (torch.zeros_like(read[:, 0]),), read)


def _own(
    state: tuple[torch.Tensor, ...], output: torch.Tensor
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """The same in memory of their own and in one order, as `scan` demands."""
    plain = torch.contiguous_format
    return tuple(part.clone(memory_format=plain) for part in state), output.clone(memory_format=plain)


class LSTM(nn.Module):
    """One layer of long short-term memory (Hochreiter & Schmidhuber 1997), ``[B, T, F] -> [B, T, C]``.

    torch's own, which is fast but exports for one T only; what is exported is the same layer step by step.

    Args:
        hidden: C.
    """

    def __init__(self, num_features: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(num_features, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs of all steps."""
        if not torch.compiler.is_compiling():
            outputs: torch.Tensor = self.layer(x)[0]
            return outputs
        names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
        read_weight, read_bias, recall_weight, recall_bias = map(self.layer.get_parameter, names)
        nothing = x.new_zeros(x.shape[0], self.layer.hidden_size)

        def step(
            state: tuple[torch.Tensor, ...], read: torch.Tensor
        ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
            output, cell = state
            write, keep, new, show = (read + F.linear(output, recall_weight, recall_bias)).chunk(4, dim=1)
            cell = keep.sigmoid() * cell + write.sigmoid() * new.tanh()
            output = show.sigmoid() * cell.tanh()
            return (output, cell), output

        return walk(step, (nothing, nothing), F.linear(x, read_weight, read_bias))


class NonLocal(nn.Module):
    """Non-local block (Wang et al. 2018, "Non-local Neural Networks", embedded Gaussian) over any set of tokens.

    Its last normalisation starts at 0, so that the block starts as the identity. The original layers have biases
    on keys, values and output as well; softmax and batch normalisation subtract them again, so they are left out.

    Args:
        num_features: C.
        inner: size of queries, keys and values.
    """

    def __init__(self, num_features: int, inner: int) -> None:
        super().__init__()
        self.query = nn.Linear(num_features, inner)
        self.key = nn.Linear(num_features, inner, bias=False)
        self.value = nn.Linear(num_features, inner, bias=False)
        self.out = nn.Linear(inner, num_features, bias=False)
        self.norm = nn.BatchNorm1d(num_features)
        nn.init.zeros_(self.norm.weight)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Every token ``[B, N, C]`` plus what it gathers from the valid ones."""
        # As attention with one head: ONNX knows no other.
        query, key, value = (part(tokens).unsqueeze(1) for part in (self.query, self.key, self.value))
        gathered = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None, :], scale=1.0
        )
        change: torch.Tensor = self.norm(self.out(gathered.squeeze(1)).flatten(0, 1))
        return tokens + change.reshape(tokens.shape)
