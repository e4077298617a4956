"""Whatever holds numbers is taken by the public interface, or refused for what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from intraclip.arrays import as_array, as_flags, as_item, as_reals, as_whole
from intraclip.config import AugmentConfig
from intraclip.data.augment import apply, draw
from intraclip.data.normalise import normalise
from intraclip.errors import DataError
from intraclip.link.scores import score_people
from intraclip.losses.triplet import BatchHardTriplet, batch_hard_triplet
from intraclip.metrics.calibration import pair_distances
from intraclip.metrics.distance import paired_distances
from intraclip.metrics.distance_matrix import distance_matrix
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.given_distances import score_distances
from intraclip.metrics.paired import paired_values
from intraclip.metrics.protocols import protocol_named
from intraclip.metrics.ranking import score
from intraclip.metrics.rerank import rerank
from intraclip.metrics.uncertainty import intervals

FEATURES = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
PIDS = np.repeat([1, 2, 3], 4)
CAMIDS = np.tile([1, 2], 6)
IS_QUERY = np.tile([True, False, False, False], 3)

KINDS: dict[str, Callable[[Any], Any]] = {
    "array": lambda values: values,
    "tensor": lambda values: torch.from_numpy(np.ascontiguousarray(values)),
    "tensor with a gradient": lambda values: (
        torch.from_numpy(values).requires_grad_() if values.dtype.kind == "f" else torch.from_numpy(values)
    ),
    "list": lambda values: values.tolist(),
    "list of tensors": lambda values: list(torch.from_numpy(np.ascontiguousarray(values))),
    "list of tensors with a gradient": lambda values: (
        list(torch.from_numpy(values).requires_grad_()) if values.dtype.kind == "f" else values.tolist()
    ),
}


def embeddings(of: Callable[[Any], Any], **changed: Any) -> Embeddings:
    given = {"features": FEATURES, "pids": PIDS, "camids": CAMIDS, "is_query": IS_QUERY}
    return Embeddings(**({name: of(array) for name, array in given.items()} | changed))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_numbers_gives_the_same_answers(kind):
    of = KINDS[kind]
    found, expected = embeddings(of), embeddings(KINDS["array"])
    for name in ("features", "pids", "camids", "is_query"):
        array = getattr(found, name)
        assert array.dtype == getattr(expected, name).dtype
        assert array.tolist() == getattr(expected, name).tolist()
    protocol = protocol_named("cross-camera")
    assert score(found, protocol).mAP == score(expected, protocol).mAP
    matrix = distance_matrix(FEATURES, FEATURES, distance="cosine")
    assert distance_matrix(of(FEATURES), of(FEATURES), distance="cosine").tolist() == matrix.tolist()
    rows = np.arange(3)
    assert paired_distances(
        of(FEATURES), of(FEATURES), rows=of(rows), columns=of(rows), distance="euclidean"
    ).tolist() == [0, 0, 0]
    scores = [
        score_distances(
            given(matrix),
            query_pids=given(PIDS),
            query_camids=given(CAMIDS),
            gallery_pids=given(PIDS),
            gallery_camids=given(CAMIDS),
        )
        for given in (of, KINDS["array"])
    ]
    assert scores[0].mAP == scores[1].mAP
    assert intervals(scores[0].outcomes, of(PIDS), seed=1).people == 3
    assert paired_values(of(FEATURES[0]), of(FEATURES[1]), seed=0).value == pytest.approx(
        float((FEATURES[1].astype(float) - FEATURES[0]).mean())
    )
    again = [rerank(given(FEATURES), given(rows), given(np.arange(12))) for given in (of, KINDS["array"])]
    assert again[0].tolist() == again[1].tolist()
    distances = np.array([0.5, 3.0])
    pairs = pair_distances(expected, protocol)
    assert pairs.genuine_below(of(distances)).tolist() == pairs.genuine_below(distances).tolist()
    assert score_people(of(PIDS), of(PIDS)).idf1 == 1


@pytest.mark.parametrize("labels", [PIDS, PIDS.tolist(), torch.from_numpy(PIDS)])
def test_the_triplet_loss_takes_labels_of_any_kind_and_can_be_minimised(labels):
    features = torch.from_numpy(FEATURES.copy()).requires_grad_()
    loss = BatchHardTriplet(margin=1.0)(features, labels)
    loss.backward()
    assert features.grad is not None
    assert float(loss.detach()) == float(
        batch_hard_triplet(torch.from_numpy(FEATURES), labels, margin=1.0).loss
    )
    with pytest.raises(DataError, match=r"a label for each, got torch\.float32 \[12, 4\] and labels \[11\]"):
        batch_hard_triplet(features, labels[:11])


def test_frames_come_as_an_array_too():
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 3, 8, 4), dtype=np.uint8)
    half = (0.5, 0.5, 0.5)
    parameters = draw(
        AugmentConfig(), clips=1, frames=2, height=8, width=4, generator=torch.Generator().manual_seed(0)
    )
    for found, expected in (
        (normalise(frames, mean=half, std=half), normalise(torch.from_numpy(frames), mean=half, std=half)),
        (
            apply(frames, parameters, mean=half, std=half),
            apply(torch.from_numpy(frames), parameters, mean=half, std=half),
        ),
    ):
        assert torch.equal(found, expected)


def test_numbers_that_numpy_does_not_know_are_taken():
    half = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16, requires_grad=True)
    assert as_reals(half, name="features").tolist() == [[1.5, -2.0]]
    assert as_array([torch.tensor(1), torch.tensor(2)], name="pids").tolist() == [1, 2]
    assert [as_item(v) for v in (torch.tensor(3), np.int64(3), np.array(3), 3)] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"features": np.full((12, 4), np.nan)}, "12 of 12 embeddings are not finite"),
        ({"features": torch.full((12, 4), torch.inf)}, "12 of 12 embeddings are not finite"),
        ({"features": [[1.0], [1.0, 2.0]] * 6}, r"features \(list\) makes no array"),
        ({"features": "much"}, "features holds <U4, real numbers are needed"),
        ({"features": None}, r"features \(NoneType\) holds objects, numbers are needed"),
        ({"features": np.full((12, 4), 1e300)}, "features holds 48 values beyond float32; scale them down"),
        ({"features": FEATURES > 0}, "features holds bool, real numbers are needed"),
        ({"features": FEATURES + 1j}, "features holds complex64, real numbers are needed"),
        ({"features": np.ma.masked_less(FEATURES, 0)}, "features has .* masked entries"),
        ({"features": torch.from_numpy(FEATURES[0])}, r"features \[4\], pids \[12\]"),
        ({"pids": PIDS + 0.5}, "pids holds float64 and 12 of 12 values are no whole numbers: 1.5 in row 0"),
        ({"pids": [10**20] * 12}, "pids"),
        (
            {"pids": np.full(12, 2**63, dtype=np.uint64)},
            "pids holds 9223372036854775808, which is beyond int64",
        ),
        ({"camids": ["cam1"] * 12}, "camids holds <U4, whole numbers are needed"),
        ({"camids": CAMIDS[:, None]}, r"camids \[12, 1\]"),
        ({"is_query": ["False"] * 12}, "is_query holds <U5"),
        ({"is_query": PIDS}, "is_query holds 2, 3; nothing but 1 and 0"),
        ({"names": ["a"]}, r"names \[1\]"),
    ],
)
def test_what_is_wrong_is_said(changed, match):
    with pytest.raises(DataError, match=match):
        embeddings(KINDS["array"], **changed)


def test_whole_floats_are_whole_numbers_and_ones_are_flags():
    assert as_whole(torch.tensor([1.0, -1.0]), name="pids").tolist() == [1, -1]
    assert as_flags([1, 0, 1.0], name="is_query").tolist() == [True, False, True]
