from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from intraclip.errors import ConfigError, DataError
from intraclip.losses import LOSSES
from intraclip.losses.base import TotalLoss
from intraclip.losses.circle import circle_loss
from intraclip.losses.oim import follow, match
from intraclip.losses.parts import part_triplet
from intraclip.losses.siamese import contrastive_loss
from intraclip.losses.triplet import batch_hard_triplet, euclidean_distances
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


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0, 0], []])
def test_batches_that_cannot_be_mined_are_refused(labels):
    with pytest.raises(DataError, match="two clips of every identity and two identities"):
        batch_hard_triplet(torch.randn(len(labels), 4), torch.tensor(labels))


@pytest.mark.parametrize("margin", [-0.1, float("nan"), None])
def test_margins_that_are_none_are_refused(margin):
    with pytest.raises(ConfigError, match="a number of 0 or more is needed"):
        batch_hard_triplet(torch.randn(4, 4), torch.tensor([0, 0, 1, 1]), margin=margin)


def test_total_is_the_weighted_sum():
    features, labels = batch()
    logits = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    output = ClipOutput(features, features, logits, torch.tensor(0.25))
    config = {"triplet": {"weight": 2.0, "margin": 0.4}, "identity": {"weight": 0.5, "label_smoothing": 0.1}}
    total, logged = TotalLoss(config)(output, labels)
    expected = (
        2 * plain_batch_hard(features, labels, 0.4, False)
        + 0.5 * float(F.cross_entropy(logits, labels, label_smoothing=0.1))
        + 0.25
    )
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert float(logged["accuracy"]) == float((logits.argmax(1) == labels).float().mean())


def plain_circle(features: torch.Tensor, labels: torch.Tensor, margin: float, scale: float) -> float:
    """Sun et al. 2020, equation 6, in loops; its factors count as numbers."""
    unit = F.normalize(features.double(), dim=1)
    losses = []
    for a in range(len(unit)):
        positive = negative = 0.0
        for b in range(len(unit)):
            s = float(unit[a] @ unit[b])
            if labels[a] != labels[b]:
                negative += math.exp(scale * max(0.0, s + margin) * (s - margin))
            elif a != b:
                positive += math.exp(-scale * max(0.0, 1 + margin - s) * (s - 1 + margin))
        losses.append(math.log1p(positive * negative))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("seed", range(3))
def test_circle_loss_equals_plain_loops(seed: int):
    features, labels = batch(seed)
    found = circle_loss(features, labels, margin=0.25, scale=8.0)
    assert float(found) == pytest.approx(plain_circle(features, labels, 0.25, 8.0), rel=1e-4)


def output_of(features: torch.Tensor, classes: int = 6) -> ClipOutput:
    return ClipOutput(features, features, features @ torch.ones(features.shape[1], classes), None)


def test_a_loss_without_weight_costs_and_logs_nothing():
    features, labels = batch()
    plain = TotalLoss({})
    value, logged = plain(output_of(features), labels)
    assert set(logged) == {
        "loss", "triplet", "identity", "accuracy", "positive_distance", "negative_distance", "active_triplets",
    }  # fmt: skip
    assert not plain.state_dict()
    more = TotalLoss({"circle": {"weight": 0.5}, "memory": {"weight": 2.0}}, num_classes=6, num_features=8)
    total, said = more(output_of(features), labels)
    assert {"circle", "memory"} <= set(said)
    assert float(total) == pytest.approx(float(value + 0.5 * said["circle"] + 2 * said["memory"]), rel=1e-5)


def test_every_loss_has_a_title_and_a_weight_of_its_own():
    kinds = [LOSSES.load(name) for name in LOSSES]
    assert len({kind.title for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert kind(kind.Settings(weight=3.5), 4, 8).settings.weight == 3.5


def test_triplet_on_unit_vectors_does_not_see_their_length():
    features, labels = batch()
    loss = TotalLoss({"triplet": {"unit": True}})
    near, far = (float(loss(output_of(f), labels)[1]["triplet"]) for f in (features, 100 * features))
    assert near == pytest.approx(far, rel=1e-5)


def memory(**settings: float) -> TotalLoss:
    given = {"triplet": {"weight": 0}, "identity": {"weight": 0}, "memory": {"weight": 1, **settings}}
    return TotalLoss(given, num_classes=6, num_features=8)


def test_the_memory_holds_means_and_the_hardest_example_by_momentum():
    loss = memory(momentum=0.0, temperature=0.1)
    features, labels = batch(p=2, k=4)
    unit = F.normalize(features, dim=1)
    _, first = loss(output_of(features), labels)
    means = F.normalize(unit.view(2, 4, 8).mean(dim=1), dim=1)
    bank = loss.losses["memory"]
    assert torch.allclose(bank.means[:2], means, atol=1e-6)
    assert bank.seen.tolist() == [True, True, False, False, False, False]
    for person in range(2):
        own = unit[4 * person : 4 * person + 4]
        assert torch.allclose(bank.hardest[person], own[(own @ means[person]).argmin()], atol=1e-6)
    # Of the first batch: both memories hold the means of the two people that were seen.
    expected = F.cross_entropy(unit @ means.T / 0.1, labels)
    assert float(first["memory"]) == pytest.approx(float(expected), rel=1e-5)
    kept = memory(momentum=1.0)
    kept(output_of(features), labels)
    kept(output_of(-features), labels)
    assert torch.allclose(kept.losses["memory"].means[:2], means, atol=1e-6)


def test_the_memory_pulls_people_apart_without_a_classifier():
    torch.manual_seed(0)
    features = torch.nn.Parameter(0.1 * torch.randn(12, 8) + torch.ones(8))
    labels = torch.arange(4).repeat_interleave(3)
    loss, optimizer = memory(), torch.optim.SGD([features], lr=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        value, said = loss(output_of(features), labels)
        value.backward()
        optimizer.step()
    assert float(said["memory_accuracy"]) == 1
    assert float(said["memory"]) < 0.5


def test_contrastive_loss_equals_plain_loops():
    features, labels = batch()
    rows, near, far = features.double().tolist(), [], []
    for a in range(len(rows)):
        for b in range(len(rows)):
            distance = math.dist(rows[a], rows[b])
            if a != b and labels[a] == labels[b]:
                near.append(distance**2 / 2)
            elif a != b:
                far.append(max(0.0, 5 - distance) ** 2 / 2)
    expected = sum(near) / len(near) + sum(far) / len(far)
    assert float(contrastive_loss(features, labels, margin=5.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_contrastive_loss_of_one_kind_of_pairs_is_finite(labels):
    features = torch.randn(3, 4, requires_grad=True)
    contrastive_loss(features, torch.tensor(labels)).backward()
    assert torch.isfinite(features.grad).all()


def test_instance_matching_follows_features_one_after_another():
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
    table = torch.zeros(3, 2)
    follow(features, torch.tensor([1, 1, 0]), table, momentum=0.5)
    half = math.sqrt(0.5)
    assert torch.allclose(table, torch.tensor([[1.0, 0.0], [half, half], [0.0, 0.0]]))
    follow(features[:1], torch.tensor([1]), table, momentum=0.9)
    moved = torch.tensor([0.9 * half + 0.1, 0.9 * half])
    assert torch.allclose(table[1], moved / moved.norm())


def test_instance_matching_is_the_cross_entropy_of_cosines_to_the_table():
    features, labels = batch()
    table = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    unit = features / features.norm(dim=1, keepdim=True)
    expected = F.cross_entropy(10 * unit @ table.T, labels)
    features.requires_grad_()
    loss = match(features, labels, table, scale=10.0)
    assert torch.allclose(loss, expected)
    follow(features, labels, table)  # before the backward pass, which must not read what it wrote
    loss.backward()
    assert torch.isfinite(features.grad).all()


def test_part_triplet_is_the_mean_over_the_parts():
    first, labels = batch(0)
    second, _ = batch(1)
    expected = [batch_hard_triplet(part, labels, margin=0.4).loss for part in (first, second)]
    found = part_triplet(torch.stack([first, second], dim=1), labels, margin=0.4)
    assert torch.allclose(found, (expected[0] + expected[1]) / 2)
