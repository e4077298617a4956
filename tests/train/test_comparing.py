"""Which recipes train the same network."""

from __future__ import annotations

import pytest

from intraclip.config import ModelConfig, Recipe, RunConfig
from intraclip.train.comparing import differing_in_effect


def of_model(**keys) -> Recipe:
    return Recipe(model=ModelConfig(**keys))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (of_model(head="tap", triplet_reads="embedding"), of_model(head="tap", triplet_reads="pooled")),
        (of_model(head="trl", triplet_reads="embedding"), of_model(head="trl", triplet_reads="auto")),
        (of_model(head="ica", triplet_reads="pooled"), of_model(head="ica", triplet_reads="auto")),
        (Recipe(description="a", run=RunConfig(checkpoint_every=3)), Recipe()),
    ],
)
def test_recipes_that_train_the_same_network_do_not_differ_in_effect(old: Recipe, new: Recipe):
    assert old != new
    assert differing_in_effect(old, new) == differing_in_effect(new, old) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            of_model(head_settings={"order": "fc-bn-relu"}),
            of_model(),
            "model.head.order: fc-bn-relu -> fc-relu-bn",
        ),
        (of_model(triplet_reads="embedding"), of_model(), "model.triplet_reads: embedding -> pooled"),
        (of_model(head="trl", triplet_reads="pooled"), of_model(head="trl"), "pooled -> embedding"),
        (
            of_model(head="ica", head_settings={"reduction": 8}),
            of_model(head="tap"),
            "model.head: ica -> tap",
        ),
        (Recipe(seed=3), Recipe(), "seed: 3 -> 0"),
    ],
)
def test_recipes_that_train_another_network_differ_in_effect(old: Recipe, new: Recipe, said: str):
    (line,) = differing_in_effect(old, new)
    assert line.endswith(said)


def test_keys_that_may_differ_can_be_named():
    old, new = Recipe(seed=1, device="cpu"), Recipe(seed=2)
    assert differing_in_effect(old, new, ignore=("device",)) == ["seed: 1 -> 2"]
