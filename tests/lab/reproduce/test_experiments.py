"""Every row of every table is a recipe that can be trained, and the printed figures are the paper's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intraclip.errors import ConfigError
from intraclip.lab.reproduce.experiments import EXPERIMENTS, GROUPS, TABLE_1, TABLE_3, experiments_named
from intraclip.lab.reproduce.plan import row_recipe
from intraclip.lab.reproduce.scales import SCALES, scale_named
from intraclip.recipe_files import load_recipe


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


def test_table_3_holds_heads_that_are_there():
    from intraclip.models.heads import heads as registered

    heads = {row.changes["model.head"] for row in TABLE_3.rows if row.changes is not None}
    # Which ones is the lab's choice: that of the shipped network joins frames as TAP does.
    assert {"tap", "ica"} < heads < set(registered())


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


# -- the paper's tables, row by row ------------------------------------------------------------------------

IN_THE_PAPER = {
    "table1": {"model-1": "Model 1", "model-2": "Model 2", "model-3": "Model 3", "model-4": "Model 4"},
    "table2": {
        "baseline-alexnet": "Baseline + SDA Alexnet [11]",
        "baseline-inception_v3": "Baseline + SDA InceptionV3 [25]",
        "baseline-resnet50": "Baseline + SDA ResNet50 [7]",
        "ica-alexnet": "ICA + SDA Alexnet [11]",
        "ica-inception_v3": "ICA + SDA InceptionV3 [25]",
        "ica-resnet50": "ICA + SDA ResNet50 [7]",
    },
    "table3": {
        "qan": "QAN [6]",
        "amoc": "AMOC [26]",
        "nonlocal3d": "Liao et al. [5]",
        "trl": "TRL [18]",
        "stsrn": "STSRN [13]",
        "drsa": "DRSA [10]",
        "gao_ta": "Gao et al. [9]",
        "stmp": "STMP [19]",
        "sta": "STA [24]",
        "gltr": "GLTR [27]",
        "ica": "Ours",
    },
    "table4": {"trl": "TRL [18]", "stsrn": "STSRN [13]", "stmp": "STMP [19]", "model-4": "Ours"},
}
"""Table -> key of a row -> its label in the paper's text."""

COLUMNS = {
    "prid2011": (("prid2011", "rank1"), ("prid2011", "rank5"), ("prid2011", "rank20")),
    "both": (
        *(("ilids-vid", f"rank{k}") for k in (1, 5, 20)),
        *(("mars", measure) for measure in ("rank1", "rank5", "rank20", "mAP")),
    ),
}


def rows_of_the_paper(text: str, number: int) -> dict[str, tuple[str, ...]]:
    """Label -> cells of a table in the paper's text: cells are parted by tabs, the caption stands below."""
    above = text[: re.search(rf"^ *Table {number}\.", text, re.MULTILINE).start()]
    block = above[above.rindex("Rank@k") :].splitlines()[1:]
    rows, group = {}, ""
    for line in filter(str.strip, block):
        cells = [cell.strip() for cell in line.split("\t")]
        values = [i for i, cell in enumerate(cells) if re.fullmatch(r"\d+\. ?\d|-", cell)]
        words = cells[: values[0]]
        group = words[0] or group
        # Table 1 names the parts and the model, Table 2 the parts once for three rows.
        label = words[-1] if number == 1 else " ".join([group, *words[1:]])
        rows[label] = tuple(cells[i].replace(" ", "") for i in values)
    return rows


@pytest.fixture(scope="module")
def paper() -> str:
    texts = sorted((Path(__file__).resolve().parents[4] / "shared" / "paper").glob("*.txt"))
    if not texts:
        pytest.skip("the paper's text does not lie beside the checkout")
    return texts[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", IN_THE_PAPER)
def test_printed_rows_are_the_rows_of_the_paper(name, paper):
    printed = rows_of_the_paper(paper, int(name[-1]))
    labels = IN_THE_PAPER[name]
    assert sorted(printed) == sorted(labels.values())
    columns = COLUMNS["prid2011" if name == "table4" else "both"]
    for key, label in labels.items():
        found = EXPERIMENTS[name].row(key).printed
        ours = {(layout, measure): value for layout, by in found.items() for measure, value in by.items()}
        assert set(ours) <= set(columns)
        assert tuple(f"{ours[c]:.1f}" if c in ours else "-" for c in columns) == printed[label], label


@pytest.mark.parametrize("name", IN_THE_PAPER)
def test_nothing_else_is_said_to_be_printed(name):
    others = [row for row in EXPERIMENTS[name].rows if row.key not in IN_THE_PAPER[name] and row.printed]
    # Table 3 shows TAP as well, with the figures that Table 1 prints for model 2.
    assert all(row.printed == TABLE_1.row("model-2").printed for row in others)
    assert not others or name == "table3"
