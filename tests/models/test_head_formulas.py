"""What single heads compute, against plain formulas and torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from intraclip.config import ModelConfig
from intraclip.errors import ConfigError
from intraclip.models.embedder import build_head
from intraclip.models.heads.drsa import DRSA, overlap
from intraclip.models.heads.gao_ta import GaoTA
from intraclip.models.heads.gem import GeM
from intraclip.models.heads.gltr import GLTR
from intraclip.models.heads.nonlocal3d import NonLocal3D
from intraclip.models.heads.qan import QAN
from intraclip.models.heads.sequence import LSTM, NonLocal, pack_frames, to_grid, with_neighbours
from intraclip.models.heads.sta import STA, frame_disagreement, frame_energy
from intraclip.models.heads.stmp import STMP
from intraclip.models.heads.stripes import Stripes
from intraclip.models.heads.trl import TRL, FrameTransformer


def random_maps(b: int = 3, t: int = 4, f: int = 8, h: int = 8, w: int = 4) -> torch.Tensor:
    return torch.randn(b, t, f, h, w, generator=torch.Generator().manual_seed(0)).relu()


def full(maps: torch.Tensor) -> torch.Tensor:
    return torch.ones(maps.shape[:2], dtype=torch.bool)


def test_qan_weighs_embeddings_by_their_quality():
    head = QAN(8).eval()
    maps = random_maps()
    x = maps.mean(dim=(3, 4))
    q = 1 / (1 + torch.exp(-(x @ head.quality.weight.T + head.quality.bias)))
    e = x @ head.project.weight.T / math.sqrt(1 + head.norm.eps)
    assert torch.allclose(head(maps, full(maps)).embedding, (q * e).sum(1) / q.sum(1), atol=1e-6)


def test_qan_reads_the_quality_from_all_positions_of_the_middle_maps():
    head = QAN(8, quality="middle").eval()
    head.take_middle(3)
    maps, middle = random_maps(), random_maps(f=3, h=16, w=8)
    mask = full(maps)
    mask[0, 2:] = False
    pooled = F.avg_pool2d(middle.flatten(0, 1), 2).flatten(1).unflatten(0, (3, 4))
    q = (pooled @ head.quality.weight.T + head.quality.bias).sigmoid() * mask.unsqueeze(-1)
    e = maps.mean(dim=(3, 4)) @ head.project.weight.T / math.sqrt(1 + head.norm.eps)
    found = head.with_middle(maps, middle, mask).embedding
    assert torch.allclose(found, (q * e).sum(1) / q.sum(1), atol=1e-5)
    hidden = torch.where(mask[..., None, None, None], middle, float("nan"))
    assert torch.equal(head.with_middle(maps, hidden, mask).embedding, found)


def test_qan_survives_clips_of_bad_frames_only():
    head = QAN(8).eval()
    nn.init.constant_(head.quality.bias, -200.0)
    maps = random_maps()
    assert bool(head(maps, full(maps)).embedding.isfinite().all())


def test_gao_attention_is_the_weighted_mean_of_the_frames():
    head = GaoTA(8)
    maps = random_maps()
    described = torch.einsum("btfhw,cfhw->btc", maps, head.over_space.weight) + head.over_space.bias
    padded = F.pad(described.relu(), (0, 0, 1, 1))
    window = torch.stack([padded[:, 0:4], padded[:, 1:5], padded[:, 2:6]], dim=-1)
    scores = (torch.einsum("btck,ck->bt", window, head.over_time.weight[0]) + head.over_time.bias).relu()
    assert bool((scores > 0).any())
    expected = (maps.mean(dim=(3, 4)) * scores.softmax(dim=1).unsqueeze(-1)).sum(dim=1)
    assert torch.allclose(head(maps, full(maps)).embedding, expected, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 6])
def test_lstm_step_by_step_is_torchs_own(frames):
    layer = LSTM(8, 5).eval()
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(layer, (torch.randn(2, 3, 8),), dynamic_shapes=(free,))
        x = torch.randn(4, frames, 8)
        assert torch.allclose(program.module()(x), layer(x), atol=1e-6)


def test_trl_on_full_clips_is_two_bidirectional_lstms():
    head = TRL(8)
    maps = random_maps()
    x = maps.mean(dim=(3, 4))

    def bidirectional(part: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        reference = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
        weights = dict(part.forwards.layer.state_dict())
        weights |= {f"{k}_reverse": v for k, v in part.backwards.layer.state_dict().items()}
        reference.load_state_dict(weights)
        return reference(inputs)[0]

    generic = bidirectional(head.generic, x)
    expected = torch.cat([generic, bidirectional(head.specific, x - generic)], dim=2).mean(dim=1)
    assert torch.allclose(head(maps, full(maps)).embedding, expected, atol=1e-5)


def test_trl_refuses_an_odd_number_of_features():
    with pytest.raises(ConfigError, match=r"33 is odd; choose another model\.width"):
        build_head(33, ModelConfig(head="trl"))


def test_drsa_parts_are_means_under_their_maps():
    head = DRSA(8).eval()
    maps = random_maps(b=1, t=1)
    tokens = maps[0, 0].flatten(1).T
    attention = head._attention(tokens[None, None])[0, 0]
    assert torch.allclose(attention.sum(dim=1), torch.ones(3), atol=1e-6)
    parts = [head.project((weights.unsqueeze(1) * tokens).sum(dim=0)) for weights in attention]
    expected = torch.cat([part / part.norm() for part in parts])
    assert torch.allclose(head(maps, full(maps)).embedding[0], expected, atol=1e-5)


def test_drsa_penalises_maps_that_overlap():
    mask = torch.tensor([[True, False]])
    apart = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]])
    same = torch.full((3, 4), 0.25)
    assert overlap(torch.stack([apart, same])[None], mask).item() == pytest.approx(0, abs=5e-3)
    # R R^T is all ones: six ones remain outside the diagonal.
    assert overlap(torch.stack([same, apart])[None], mask).item() == pytest.approx(math.sqrt(6), abs=1e-3)


def test_neighbouring_frames_make_a_2d_convolution_a_3d_one():
    conv3d = nn.Conv3d(8, 6, 3, padding=1, bias=False)
    conv2d = nn.Conv2d(24, 6, 3, padding=1, bias=False)
    with torch.no_grad():
        conv2d.weight.copy_(conv3d.weight.permute(0, 2, 1, 3, 4).flatten(1, 2))
    maps = random_maps()
    found = conv2d(with_neighbours(maps, full(maps))).unflatten(0, (3, 4))
    assert torch.allclose(found.transpose(1, 2), conv3d(maps.transpose(1, 2)), atol=1e-5)


def test_the_refining_unit_mixes_each_frame_with_those_before_it():
    head = STMP(8).eval()
    maps = random_maps()
    refined = head.refine(maps)
    assert torch.equal(refined[:, 0], maps[:, 0])
    gate = head._gate(torch.cat([refined[:, 1] - maps[:, 2], maps[:, 2] - maps[:, 1]], dim=1))
    assert torch.allclose(refined[:, 2], (1 - gate) * refined[:, 1] + gate * maps[:, 2], atol=1e-6)
    assert bool((gate > 0).all())
    assert bool((gate < 1).all())


def test_the_refining_unit_normalises_the_same_way_in_training_and_at_test():
    torch.manual_seed(0)
    head = STMP(8).train()
    head.compare[1].momentum = 1.0
    maps = torch.randn(64, 2, 8, 4, 2).relu()
    change = torch.cat([maps[:, 0] - maps[:, 1], maps[:, 1] - maps[:, 0]], dim=1)
    expected = head.compare[0](change).var(dim=(0, 2, 3))
    head.refine(maps)
    assert torch.allclose(head.compare[1].running_var, expected, rtol=1e-4)


def test_drsa_can_take_one_root_over_the_batch_as_its_authors_do():
    attention = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0)).softmax(dim=3)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    roots = attention[mask].sqrt()
    squares = (roots @ roots.transpose(1, 2) - torch.eye(4)).square().sum(dim=(1, 2))
    found = overlap(attention, mask, over="batch")
    assert torch.allclose(found, (squares.sum() + 1e-5).sqrt(), rtol=1e-4)
    assert found > overlap(attention, mask)


def test_the_frame_transformer_starts_with_frames_as_they_are_then_scales_and_moves_them():
    transformer = FrameTransformer(5)
    frames = torch.randn(2, 3, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    maps, mask = random_maps(2, 3, 5), torch.ones(2, 3, dtype=torch.bool)
    assert torch.allclose(transformer(frames, maps, mask), frames, atol=1e-5)
    # Two pixels of six to the left: a shift of 2/3, with black from outside.
    transformer.locate.bias.data = torch.tensor([0.0, 0.0, 2 / 3, 0.0]).atanh()
    moved = transformer(frames, maps, mask)
    assert torch.allclose(moved[..., :4], frames[..., 2:], atol=1e-4)
    assert moved[..., 4:].abs().max() < 1e-4


def test_the_frame_transformer_reads_the_frame_and_the_mean_of_the_others():
    transformer = FrameTransformer(5)
    nn.init.normal_(transformer.locate.weight)
    frames, maps = torch.randn(1, 3, 3, 8, 6), random_maps(1, 3, 5)
    mask = torch.tensor([[1, 1, 0]]).bool()
    seen = transformer(frames, maps, mask)
    swapped = transformer(frames[:, [1, 0, 2]], maps[:, [1, 0, 2]], mask)
    assert torch.allclose(seen[:, :2], swapped[:, [1, 0]], atol=1e-5)
    hidden = maps.clone()
    hidden[:, 2] = 1e3
    assert torch.equal(transformer(frames, hidden, mask)[:, :2], seen[:, :2])
    alone = transformer(frames[:, :1], maps[:, :1], mask[:, :1])
    assert bool(alone.isfinite().all())


def test_stmp_hands_out_its_mended_maps_by_stripes_in_training_alone():
    head, maps = STMP(8).train(), random_maps(h=16)
    mask = full(maps)
    mask[1, 2:] = False
    parts = head(maps, mask).parts
    with torch.no_grad():
        mended = head.refine(pack_frames(maps, mask)[0])
    expected = torch.stack([mended[i, : mask[i].sum()].mean(dim=(0, 3)) for i in range(3)])
    expected = expected.unflatten(2, (8, 2)).mean(dim=3).transpose(1, 2)
    assert parts.shape == (3, 8, 8)
    assert torch.allclose(parts, expected, atol=1e-5)
    assert head.eval()(maps, mask).parts is None


def test_sta_takes_each_stripe_from_the_frame_that_shows_it_best():
    head = STA(8).eval()
    maps = torch.zeros(1, 2, 8, 8, 4)
    maps[0, 0, 0, :4] = 1.0  # frame 0 shows the upper two stripes in feature 0
    maps[0, 1, 1, 4:] = 1.0  # frame 1 the lower two in feature 1
    joined = torch.zeros(16)
    joined[[0, 1, 8, 9]] = 0.5  # best frame and weighted sum; mean over four stripes
    expected = (head.project.weight @ joined / math.sqrt(1 + head.norm.eps)).relu()
    assert torch.allclose(head(maps, full(maps)).embedding[0], expected, atol=1e-4)


def test_sta_energy_and_its_regulariser():
    maps = torch.zeros(1, 3, 2, 2, 1)
    maps[0, 0, :, 0] = 3.0
    maps[0, 1, 0, 1] = 7.0
    energy = frame_energy(maps)
    assert torch.allclose(energy[0, :2, :, 0], torch.eye(2), atol=1e-5)
    mask = torch.tensor([[True, True, False]])
    assert frame_disagreement(energy, mask).item() == pytest.approx(math.sqrt(2), abs=1e-4)
    assert frame_disagreement(energy, torch.tensor([[True, False, False]])).item() == 0


def test_gltr_sees_three_dilations_at_once():
    head = GLTR(8).eval()  # the attention starts as the identity
    maps = random_maps(t=7)
    x = head.project(maps.mean(dim=(3, 4)))
    branches = [x]
    for dilation, conv in zip((1, 2, 3), head.pyramid, strict=True):
        padded = F.pad(x, (0, 0, dilation, dilation))
        shifts = [padded[:, k * dilation : k * dilation + 7] @ conv.weight[:, :, k].T for k in range(3)]
        branches.append(sum(shifts))  # type: ignore[arg-type]
    expected = torch.cat(branches, dim=2).mean(dim=1)
    assert torch.allclose(head(maps, full(maps)).embedding, expected, atol=1e-5)


def test_non_local_tokens_gather_by_softmax_of_their_products():
    block = NonLocal(8, 4).eval()
    nn.init.ones_(block.norm.weight)
    tokens = torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True, True, False, False, True]])
    scores = block.query(tokens) @ block.key(tokens).transpose(1, 2)
    weights = scores.masked_fill(~mask.unsqueeze(1), float("-inf")).softmax(dim=2)
    expected = tokens + block.out(weights @ block.value(tokens)) / math.sqrt(1 + block.norm.eps)
    assert torch.allclose(block(tokens, mask), expected, atol=1e-5)


def test_nonlocal3d_starts_from_the_mean():
    maps = random_maps()
    out = NonLocal3D(8).train()(maps, full(maps))
    assert torch.allclose(out.embedding, maps.mean(dim=(1, 3, 4)), atol=1e-6)


@pytest.mark.parametrize(
    ("exponent", "expected"), [(1.0, 1.5), (0.1, 1.5), (2.0, math.sqrt(3)), (200.0, 3.0)]
)
def test_gem_lies_between_mean_and_maximum(exponent, expected):
    maps = torch.tensor([3.0, 1.0, 1.0, 1.0]).view(1, 4, 1, 1, 1)
    head = GeM(1)
    nn.init.constant_(head.exponent, exponent)
    found = head(maps, full(maps)).embedding.item()
    assert found == pytest.approx(expected, rel=0.01)


def test_maps_of_the_grids_size_stay_and_others_are_averaged():
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    assert to_grid(maps, (4, 4)) is maps
    assert to_grid(maps, (2, 1)).flatten().tolist() == [3.5, 11.5]
    assert to_grid(maps, (4, 8))[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_stripes_join_the_whole_and_each_band_before_one_layer():
    head = Stripes(8, stripes=3, embedding_size=5).eval()
    maps = random_maps()[:, :, :, :7]
    z = [maps, maps[:, :, :, :3], maps[:, :, :, 2:5], maps[:, :, :, 4:]]
    joined = torch.cat([part.mean(dim=(1, 3, 4)) for part in z], dim=1)
    assert torch.allclose(head.frame_vectors(maps).mean(dim=1), joined, atol=1e-6)
    expected = F.normalize(joined @ head.project.weight.T + head.project.bias, dim=1)
    assert torch.allclose(head(maps, full(maps)).embedding, expected, atol=1e-6)
