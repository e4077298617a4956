from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from intraclip.config import LossConfig
from intraclip.losses import TotalLoss, batch_hard_triplet, euclidean_distances
from intraclip.models.embedder import ClipOutput


def batch(seed: int = 0, p: int = 4, k: int = 3, d: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(p * k, d, generator=generator), torch.arange(p).repeat_interleave(k)


def plain_batch_hard(features: torch.Tensor, labels: torch.Tensor, margin: float, soft: bool) -> float:
    """Hermans et al. 2017, equation 5, in loops."""
    rows = features.double().tolist()
    losses = []
    for a in range(len(rows)):
        same = [math.dist(rows[a], rows[i]) for i in range(len(rows)) if i != a and labels[i] == labels[a]]
        other = [math.dist(rows[a], rows[i]) for i in range(len(rows)) if labels[i] != labels[a]]
        gap = max(same) - min(other)
        losses.append(math.log1p(math.exp(gap)) if soft else max(0.0, gap + margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_triplet_equals_plain_loops(seed, soft):
    features, labels = batch(seed)
    result = batch_hard_triplet(features, labels, margin=0.3, soft=soft)
    assert float(result.loss) == pytest.approx(plain_batch_hard(features, labels, 0.3, soft), rel=1e-5)


def test_triplet_gradient_equals_finite_differences():
    features, labels = batch(d=3)
    features = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet(x, labels, margin=5.0).loss, (features,))


def test_equal_rows_have_a_finite_gradient():
    features = torch.ones(4, 8, requires_grad=True)
    batch_hard_triplet(features, torch.tensor([0, 0, 1, 1])).loss.backward()
    assert torch.isfinite(features.grad).all()


def test_separated_identities_cost_nothing():
    features = torch.eye(2).repeat_interleave(3, dim=0) * 10
    result = batch_hard_triplet(features, torch.tensor([0, 0, 0, 1, 1, 1]), margin=0.3)
    assert float(result.loss) == 0
    assert float(result.active) == 0


def test_distances_equal_torch_cdist():
    features, _ = batch()
    assert torch.allclose(euclidean_distances(features), torch.cdist(features, features), atol=1e-3)


@pytest.mark.cuda
def test_distances_on_a_gpu_are_exact_where_it_may_round():
    """Embeddings of one person: long vectors that are near to each other."""
    generator = torch.Generator().manual_seed(0)
    features = 5 + 0.05 * torch.randn(32, 2048, generator=generator)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        found = euclidean_distances(features.cuda()).cpu()
    finally:
        torch.set_float32_matmul_precision(before)
    assert found.dtype == torch.float32
    expected = torch.cdist(features.double(), features.double())
    assert torch.allclose(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0, 0]])
def test_batches_that_cannot_be_mined_are_refused(labels):
    with pytest.raises(ValueError, match="two clips of every identity and two identities"):
        batch_hard_triplet(torch.randn(3, 4), torch.tensor(labels))


def test_total_is_the_weighted_sum():
    features, labels = batch()
    logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    output = ClipOutput(features, features, logits, torch.tensor(0.25))
    config = LossConfig(triplet_weight=2.0, identity_weight=0.5, label_smoothing=0.1, margin=0.4)
    total, logged = TotalLoss(config)(output, labels)
    expected = (
        2 * plain_batch_hard(features, labels, 0.4, False)
        + 0.5 * float(F.cross_entropy(logits, labels, label_smoothing=0.1))
        + 0.25
    )
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert float(logged["accuracy"]) == float((logits.argmax(1) == labels).float().mean())
