"""Every row of every table is a recipe that can be trained, and the printed figures are the paper's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intraclip.config_io import load_recipe
from intraclip.errors import ConfigError
from intraclip.reproduce.experiments import EXPERIMENTS, GROUPS, TABLE_1, TABLE_3, experiments_named
from intraclip.reproduce.plan import row_recipe
from intraclip.reproduce.scales import SCALES, scale_named


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_row_is_a_valid_recipe_at_every_scale(experiment, scale):
    base = load_recipe(scale.recipe)
    keys = [row.key for row in experiment.rows]
    assert len(set(keys)) == len(keys)
    recipes = [
        row_recipe(base, row, scale.changes.get(experiment.name, {}))
        for row in experiment.rows
        if row.changes is not None
    ]
    # The default of a scale may equal one of its ablations (the decay), nothing else is trained twice.
    assert len({str(recipe) for recipe in recipes}) >= len(recipes) - 1


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_claims_are_about_rows_that_are_trained(experiment):
    trained = {row.key for row in experiment.rows if row.changes is not None}
    for claim in experiment.claims:
        assert {claim.better, claim.worse} <= trained
        assert claim.better != claim.worse


def test_table_3_holds_every_head():
    from typing import get_args

    from intraclip.config import Head

    heads = {row.changes["model.head"] for row in TABLE_3.rows if row.changes is not None}
    assert heads == set(get_args(Head))


def test_groups_name_experiments():
    assert all(name in EXPERIMENTS for names in GROUPS.values() for name in names)
    assert [e.name for e in experiments_named("ablations")] == list(GROUPS["ablations"])


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"no experiment 'table5'.*table1.*ablations"):
        experiments_named("table5")
    with pytest.raises(ConfigError, match="no scale 'huge'; there are smoke, cpu, paper"):
        scale_named("huge")


def test_a_longer_schedule_decays_later_too():
    base = load_recipe("cpu")
    long = next(row for row in EXPERIMENTS["ablation-length"].rows if row.times == 4)
    recipe = row_recipe(base, long, {})
    assert recipe.optimizer.epochs == 4 * base.optimizer.epochs
    assert recipe.optimizer.decay_every == 4 * base.optimizer.decay_every


def test_printed_figures_stand_in_the_paper():
    texts = sorted((Path(__file__).resolve().parents[3] / "shared" / "paper").glob("*.txt"))
    if not texts:
        pytest.skip("the paper's text does not lie beside the checkout")
    text = re.sub(r"\s+", " ", texts[0].read_text(encoding="utf-8").replace("98. 7", "98.7"))
    for row in TABLE_1.rows:
        printed = row.printed
        numbers = [*printed["ilids-vid"].values(), *printed["mars"].values()]
        assert " ".join(f"{n:.1f}" for n in numbers) in text, row.label
    for row in TABLE_3.rows:
        for layout, found in row.printed.items():
            for value in found.values():
                assert f"{value:.1f}" in text, (row.label, layout)
