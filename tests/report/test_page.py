from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from intraclip.errors import DataError, OutputError
from intraclip.report.page import write_report
from report.report_world import HOSTILE, World

BASELINE: dict[str, Any] = {
    **{f"rank{k}": 0.25 for k in (1, 5, 10, 20)},
    "mAP": 0.2,
    "mINP": 0.1,
    "queries": 6,
    "queries_without_match": 0,
    "gallery": 7,
    "protocol": "cross-camera",
    "distance": "euclidean",
    "cmc": [0.25] * 50,
}
VOID = {"meta", "link", "br", "img", "use", "path", "line", "rect"}


class Element(NamedTuple):
    tag: str
    attributes: dict[str, str]


class Reader(HTMLParser):
    """Every element, the text, and whether tags close as they open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def page(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "new" / "report.html"
    steps: list[str] = []
    written = write_report(
        out,
        runs=world.runs,
        split=world.split,
        title="Toys & <b>people</b>",
        baselines={"Colour <i>histograms</i>": BASELINE},
        note="One $note$ only.",
        say=steps.append,
    )
    assert written == out
    assert len(steps) >= 5
    return out.read_text(encoding="utf-8")


def test_page_asks_nobody_for_anything(page: str) -> None:
    reader = Reader(page)
    for element in reader.elements:
        for key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            value = element.attributes.get(key, "#")
            assert value.startswith(("data:", "#")), (element.tag, key, value[:80])
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {e.tag for e in reader.elements}
    assert "@import" not in page
    assert all(found.startswith("#") for found in re.findall(r"url\(['\"]?([^)]*)", page))
    assert not re.search(r"https?://", page)


def test_page_is_well_formed_and_its_links_lead_somewhere(page: str) -> None:
    reader = Reader(page)
    assert reader.open == []
    names = [element.attributes["id"] for element in reader.elements if "id" in element.attributes]
    targets = {e.attributes.get("href") or e.attributes.get("xlink:href", "") for e in reader.elements} - {
        "",
        "data:,",
    }
    assert {target.removeprefix("#") for target in targets} <= set(names)


@pytest.mark.parametrize(
    "section", ["numbers", "ranked", "findings", "curves", "augmentation", "gradcam", "tsne", "making"]
)
def test_every_section_is_there_and_filled(page: str, section: str) -> None:
    part = page.split(f'<section id="{section}">')[1].split("</section>")[0]
    assert "<h2>" in part
    assert 'class="missing"' not in part
    if section not in ("numbers", "findings", "making"):
        assert "<svg" in part or "data:image/jpeg" in part


def test_every_picture_has_a_text_and_a_size(page: str) -> None:
    for element in Reader(page).elements:
        if element.tag == "img":
            assert element.attributes["alt"]
            assert int(element.attributes["width"]) > 0
            assert int(element.attributes["height"]) > 0
        if element.tag == "svg":
            assert element.attributes.get("aria-label") or element.attributes.get("aria-hidden")


def test_answers_are_marked_by_sign_and_word_too(page: str) -> None:
    answers = re.findall(r'<li class="(right|wrong)">(.*?)</li>', page, flags=re.DOTALL)
    assert {kind for kind, _ in answers} == {"right", "wrong"}
    for kind, body in answers:
        assert ("✓" in body) == (kind == "right")
        assert ("✗" in body) == (kind == "wrong")
        assert re.search(rf"alt=\"Answer \d: {kind}", body)
        assert "distance" in body


def test_names_cannot_become_markup(page: str) -> None:
    assert HOSTILE not in page
    assert "<script" not in page.lower()
    assert "&lt;script&gt;" in page
    text = Reader(page).text
    for shown in ("Toys & <b>people</b>", "Colour <i>histograms</i>", HOSTILE, "One $note$ only."):
        assert shown in text


def test_numbers_stand_as_they_are_and_the_best_is_marked(world: World, page: str) -> None:
    from intraclip.report.records import read_record

    text = Reader(page).text
    for name, folder in world.runs.items():
        scores = read_record(name, folder).scores["cross-camera"]
        assert f"{100 * scores['mAP']:.1f}" in text
    row = page.split("Colour &lt;i&gt;histograms&lt;/i&gt;</th>")[1].split("</tr>")[0]
    assert "25.0" in row
    assert "<b" not in row
    assert "The strongest baseline is Colour <i>histograms</i> with mAP 20.0 %." in text


def test_the_same_runs_give_the_same_page(world: World, tmp_path: Path) -> None:
    pages = [
        write_report(tmp_path / f"{i}.html", runs=world.runs, split=None, title="Twice").read_text("utf-8")
        for i in range(2)
    ]
    assert pages[0] == pages[1]


def test_without_data_the_numbers_stay_and_the_rest_says_why(world: World, tmp_path: Path) -> None:
    name, folder = next(iter(world.runs.items()))
    out = write_report(tmp_path / "report.html", runs={name: folder}, split=None, title="No pictures")
    page = out.read_text(encoding="utf-8")
    assert page.count("made without the data") == 4
    assert "mAP" in page
    assert "data:image/jpeg" not in page


def test_frames_that_moved_away_cost_their_sections_only(world: World, tmp_path: Path) -> None:
    def moved(tracklets: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(replace(t, root=tmp_path / "gone") for t in tracklets)

    split = replace(
        world.split,
        train=moved(world.split.train),
        query=moved(world.split.query),
        gallery=moved(world.split.gallery),
    )
    out = write_report(tmp_path / "report.html", runs=world.runs, split=split, title="Moved")
    page = out.read_text(encoding="utf-8")
    assert page.count("This section is left out: cannot read the frame") == 4


def test_a_run_without_log_or_environment_still_has_a_page(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(next(iter(world.runs.values())), run)
    (run / "metrics.jsonl").unlink()
    (run / "environment.json").unlink()
    out = write_report(tmp_path / "report.html", runs={"Bare": run}, split=None, title="Bare")
    assert "No training curves" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("missing", ["evaluation.json", "embeddings.npz"])
def test_run_that_is_not_scored_names_the_command(world: World, tmp_path: Path, missing: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(next(iter(world.runs.values())), run)
    (run / missing).unlink()
    with pytest.raises(DataError) as caught:
        write_report(tmp_path / "report.html", runs={"Run": run}, split=None, title="x")
    assert f"intraclip evaluate {run} --data DIR" in str(caught.value)
    assert missing in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_no_run_folder_and_no_runs_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a run folder: it holds no config\.toml"):
        write_report(tmp_path / "report.html", runs={"Run": tmp_path}, split=None, title="x")
    with pytest.raises(DataError, match="at least one run"):
        write_report(tmp_path / "report.html", runs={}, split=None, title="x")


def test_damaged_log_names_file_and_line(world: World, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(next(iter(world.runs.values())), run)
    (run / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo', encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2, is not JSON"):
        write_report(tmp_path / "report.html", runs={"Run": run}, split=None, title="x")


def test_page_that_cannot_be_written_is_an_output_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", runs=world.runs, split=None, title="x")
