"""The page about people across cameras."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from intraclip.errors import OutputError
from intraclip.link.changes import Before
from intraclip.link.evidence import Evidence
from intraclip.link.people import carried, link
from intraclip.metrics.match_fit import fit_calibration
from intraclip.report.people import MAX_STRIPS, write_people_page
from link.link_world import make_world

PICTURE = "data:image/jpeg;base64,AAAA"


class Tags(HTMLParser):
    """Every tag with its attributes; unbalanced tags fail."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_a_person_has_a_timeline_by_camera_and_strips(tmp_path: Path):
    world = make_world(people=4)
    people = link(world.evidence, world.names, threshold=2.0)
    page = write_people_page(
        tmp_path / "people.html", people, title="A & B", picture=lambda name: PICTURE, cameras={2: "Yard <2>"}
    ).read_text(encoding="utf-8")
    tags = Tags(page)
    assert "<title>A &amp; B</title>" in page
    assert "Yard &lt;2&gt;" in page
    assert sum(tag == "section" for tag, _ in tags.found) == people.count
    bars = [a for _, a in tags.found if a.get("class") == "bar"]
    assert len(bars) == len(world.names)
    for bar in bars:
        left, width = map(float, re.findall(r"[\d.]+", bar["style"] or ""))
        assert 0 <= left <= left + width <= 100.01
    pictures = [a for tag, a in tags.found if tag == "img"]
    assert len(pictures) == len(world.names)
    assert all(a["alt"] for a in pictures)


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path):
    world = make_world(people=3)
    people = link(world.evidence, world.names, threshold=2.0)
    page = write_people_page(tmp_path / "p.html", people, title="x", picture=lambda name: PICTURE)
    for _, attributes in Tags(page.read_text(encoding="utf-8")).found:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#"))


def test_probabilities_are_shown_and_doubtful_ones_marked(tmp_path: Path):
    world = make_world(people=6, noise=0.9)
    calibration = fit_calibration(make_world(people=40, noise=0.9, seed=1).embeddings)
    people = link(world.evidence_with(calibration=calibration), world.names, probability=0.05)
    page = write_people_page(tmp_path / "p.html", people, title="x").read_text(encoding="utf-8")
    tags = Tags(page)
    grouped = np.isfinite(people.probability)
    doubtful = int((people.probability[grouped] < 0.5).sum())
    assert 0 < doubtful == sum(a.get("class") == "doubtful" for _, a in tags.found)
    shown = re.findall(r"<b>(\d+) %</b>", page)
    assert sorted(map(int, shown)) == sorted(round(100 * p) for p in people.probability[grouped].tolist())


def test_without_times_there_is_no_timeline_and_long_lists_are_cut(tmp_path: Path):
    count = MAX_STRIPS + 5
    evidence = Evidence(features=np.ones((count, 2), dtype=np.float32), camids=np.arange(count))
    people = link(evidence, tuple(f"t{i}" for i in range(count)), threshold=1.0)
    page = write_people_page(tmp_path / "p.html", people, title="x").read_text(encoding="utf-8")
    assert 'class="lane"' not in page
    assert "5 more tracklets are in people.csv" in page


def test_what_is_said_twice_is_shown_once(tmp_path: Path):
    world = make_world(people=4)
    people = replace(link(world.evidence, world.names, threshold=2.0), notes=("seen at once",))
    page = write_people_page(tmp_path / "p.html", people, title="x", sentences=["mine", *people.notes])
    text = page.read_text(encoding="utf-8")
    assert [text.count(f"<li>{sentence}</li>") for sentence in ("mine", "seen at once")] == [1, 1]


def test_nobody_found_twice(tmp_path: Path):
    evidence = Evidence(features=np.array([[1.0, 0.0]], dtype=np.float32), camids=np.array([1]))
    page = write_people_page(tmp_path / "p.html", link(evidence, ("only",)), title="x").read_text(
        encoding="utf-8"
    )
    Tags(page)
    assert "Nobody was found twice" in page
    assert "only" in page


def test_a_page_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("")
    evidence = Evidence(features=np.ones((1, 2), dtype=np.float32), camids=np.array([1]))
    with pytest.raises(OutputError, match="cannot be written"):
        write_people_page(tmp_path / "file" / "p.html", link(evidence, ("x",)), title="x")


def test_what_changed_since_the_linking_before_stands_on_the_page(tmp_path: Path):
    world = make_world(people=4)
    people = link(world.evidence, world.names, threshold=2.0)
    person = dict(zip(people.names, people.person.tolist(), strict=True))
    first = people.names[int(people.members(2)[0])]
    before = Before(person={**person, first: 9}, labels={9: "Anna <b>"})
    page = write_people_page(tmp_path / "people.html", carried(people, before), title="x").read_text(
        encoding="utf-8"
    )
    Tags(page)
    assert "1 found to be another" in page
    assert "Anna &lt;b&gt; (person 9) is Anna &lt;b&gt; (person 2)" in page
    assert "<h2>Anna &lt;b&gt; (person 2) <span" in page
    assert "<h2>Person 1 <span" in page
