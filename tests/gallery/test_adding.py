"""From folders of tracklets and files of embeddings into a gallery."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from conftest import write_tracklet
from intraclip.config import ClipConfig, Recipe
from intraclip.data.frames import read_tracklet_frame
from intraclip.data.readers import read_split
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.embed.extract import extractor_of
from intraclip.embed.extract_job import extract_split
from intraclip.embed.extractors import ExtractSettings
from intraclip.embed.network import Network
from intraclip.errors import DataError
from intraclip.gallery import adding
from intraclip.gallery.adding import Naming, add_embeddings, add_tracklets, read_tracklets
from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import Box
from intraclip.ingest.tracklets import BOX_COLUMNS, COLUMNS
from intraclip.models.embedder import build_embedder


def ingested(root: Path, people: int = 3) -> Path:
    """A folder as `intraclip ingest` writes it: two cameras, a tracklet of each person in each."""
    rows, boxes = [], []
    for camid in (1, 2):
        for pid in range(1, people + 1):
            t = write_tracklet(root / "made", pid=pid, camid=camid, frames=4 + pid)
            name = f"cam{camid}_t{pid:04d}"
            (root / "tracklets" / name).mkdir(parents=True)
            for index, frame in enumerate(t.frames):
                (root / "made" / frame).rename(root / "tracklets" / name / f"{10 * index:06d}.jpg")
                boxes.append([name, f"{10 * index:06d}.jpg", 10 * index, index / 2, 5, 6, 20.5, 40, 0.9, 0])
            end = f"{pid + (3 + pid) / 2:.3f}"
            rows.append(
                [name, f"tracklets/{name}", "", camid, "", f"cam{camid}", f"view{camid}.mp4", f"{pid:.3f}", end, 0,
                 10 * (3 + pid), 4 + pid, pid]
            )  # fmt: skip
    (root / "boxes").mkdir()
    for path, header, table in (
        (root / "tracklets.csv", COLUMNS, rows),
        (root / "boxes/cam.csv", BOX_COLUMNS, boxes),
    ):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *table])
    return root


class World:
    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.recipe = replace(recipe, clip=ClipConfig(num_frames=2))
        model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=0).eval()
        self.extractor = extractor_of(model)
        self.settings = ExtractSettings.of(self.recipe)
        self.fingerprint = self.extractor.fingerprint(self.settings.clip)
        self.data = ingested(root / "data")
        self.root = root

    def gallery(self, name: str = "g", fingerprint: str = "") -> Gallery:
        return create_gallery(
            self.root / name,
            fingerprint=fingerprint or self.fingerprint,
            dimension=self.extractor.embedding_size,
            metric="euclidean",
        )


@pytest.fixture
def world(tmp_path: Path, tiny_recipe: Recipe) -> World:
    return World(tmp_path, tiny_recipe)


def test_tracklets_bring_all_that_ingest_knew(world):
    pairs = read_tracklets(world.data, Naming())
    with world.gallery() as gallery:
        summary = add_tracklets(gallery, pairs, world.extractor, world.settings, crops=3)
        assert (summary.added, summary.skipped, summary.failures) == (6, 0, [])
        record = gallery.record("cam2_t0003")
        assert (record.camera, record.camid, record.source) == ("cam2", 2, "view2.mp4")
        assert (record.start_s, record.end_s, record.num_frames) == (3.0, 6.0, 7)
        assert record.person == ""
        assert record.started_at is None
        assert record.boxes[1] == Box(10, 5.0, 6.0, 20.5, 40.0)
        assert len(record.boxes) == 7
        assert len(gallery.crops(record.id)) == 3
        assert simplejpeg.decode_jpeg_header(gallery.strip(record.id))[:2] == (128, 5 * 64 + 4 * 2)
        expected = world.extractor.embed([t for t, _ in pairs], world.settings)
        stored = gallery.vectors([r.id for _, r in pairs])
        np.testing.assert_allclose(stored, np.stack([f.embedding for f in expected]), rtol=1e-5)


def test_adding_again_embeds_only_what_is_new(world, monkeypatch):
    monkeypatch.setattr(adding, "BATCH", 2)
    pairs = read_tracklets(world.data, Naming())
    with world.gallery() as gallery:
        add_tracklets(gallery, pairs[:4], world.extractor, world.settings)
        embedded = []
        embed = world.extractor.embed

        def watched(tracklets, *rest, **options):
            embedded.extend(t.name for t in tracklets)
            return embed(tracklets, *rest, **options)

        monkeypatch.setattr(world.extractor, "embed", watched)
        summary = add_tracklets(gallery, pairs, world.extractor, world.settings)
        assert (summary.added, summary.skipped) == (2, 4)
        assert embedded == [t.name for t, _ in pairs[4:]]


def test_what_was_added_before_an_unreadable_frame_stays(world, monkeypatch):
    monkeypatch.setattr(adding, "BATCH", 2)
    pairs = read_tracklets(world.data, Naming())
    broken = pairs[-1][0]
    broken.frame_path(2).write_bytes(b"\xff\xd8 not a picture")
    small = replace(world.settings, max_frames=4)
    with world.gallery() as gallery:
        with pytest.raises(DataError, match=r"000020\.jpg"):
            add_tracklets(gallery, pairs, world.extractor, small)
        assert gallery.stats().tracklets == 4
        summary = add_tracklets(gallery, pairs, world.extractor, replace(small, skip=True))
        assert (summary.added, summary.skipped) == (2, 4)
        assert len(summary.unreadable) == 1
        assert len(gallery.crops(broken.name)) == 6  # the frame that cannot be read is left out


def test_names_cameras_and_times_can_be_given(world):
    naming = Naming(prefix="mall-", cameras={2: "yard"}, started_at={"view1.mp4": 1e9, "": 2e9}, people=True)
    records = {r.id: r for _, r in read_tracklets(world.data, naming)}
    assert records["mall-cam1_t0002"].camera == "cam1"
    assert records["mall-cam2_t0002"].camera == "yard"
    assert records["mall-cam1_t0002"].started_at == 1e9 + 2
    assert records["mall-cam2_t0002"].started_at == 2e9 + 2
    assert records["mall-cam1_t0002"].person == ""  # ingest gives no pids


def test_pids_become_people_only_when_asked(tmp_path):
    t = write_tracklet(tmp_path / "made", pid=7, camid=1)
    folder = tmp_path / "data/gallery/7/1/x"
    folder.mkdir(parents=True)
    for frame in t.frames:
        (tmp_path / "made" / frame).rename(folder / Path(frame).name)
    assert read_tracklets(tmp_path / "data", Naming())[0][1].person == ""
    assert read_tracklets(tmp_path / "data", Naming(people=True))[0][1].person == "7"
    assert read_tracklets(tmp_path / "data", Naming())[0][1].source == "data"


def test_another_model_is_refused_before_anything_is_embedded(world, monkeypatch):
    monkeypatch.setattr(world.extractor, "embed", None)
    with (
        world.gallery(fingerprint="f" * 64) as gallery,
        pytest.raises(DataError, match=f"f{{16}}.*{world.fingerprint[:16]}"),
    ):
        add_tracklets(gallery, read_tracklets(world.data, Naming()), world.extractor, world.settings)


def test_a_file_of_embeddings_is_the_same_as_its_folder(world):
    split = read_split(world.data)
    extract_split(world.extractor, split, world.settings, world.root / "e.npz")
    file = read_embeddings(world.root / "e.npz")
    pairs = read_tracklets(world.data, Naming())
    with world.gallery("a") as a, world.gallery("b") as b, world.gallery("c") as c:
        add_tracklets(a, pairs, world.extractor, world.settings)
        assert add_embeddings(b, file, Naming(), tracklets=pairs).added == 6
        assert add_embeddings(c, file, Naming()).added == 6
        names = [r.id for r in a.all_records()]
        for other in (b, c):
            np.testing.assert_allclose(other.vectors(names), a.vectors(names), rtol=1e-4, atol=1e-5)
        assert [replace(r, added_at=0.0) for r in b.all_records()] == [
            replace(r, added_at=0.0) for r in a.all_records()
        ]
        assert b.crops(names[0]) == a.crops(names[0])
        bare = c.record("cam2_t0003")
        assert (bare.camera, bare.start_s, bare.end_s, bare.source) == ("cam2", 3.0, 6.0, "e.npz")
        assert c.strip(names[0]) == b""
        # The same tracklets from the folder are no other ones.
        assert add_tracklets(c, pairs, world.extractor, world.settings).skipped == 6


def test_a_file_of_other_tracklets_or_models_is_refused(world):
    split = read_split(world.data)
    extract_split(world.extractor, split, world.settings, world.root / "e.npz")
    file = read_embeddings(world.root / "e.npz")
    pairs = read_tracklets(world.data, Naming())
    with world.gallery() as gallery:
        with pytest.raises(
            DataError, match=r"1 tracklets of .* are not in the data folder, such as cam2_t0003"
        ):
            add_embeddings(gallery, file, Naming(), tracklets=pairs[:-1])
        with pytest.raises(DataError, match="another model"):
            add_embeddings(gallery, replace(file, metadata={"fingerprint": "f"}), Naming())
        with pytest.raises(DataError, match="no names"):
            add_embeddings(gallery, replace(file, embeddings=replace(file.embeddings, names=())), Naming())
        assert gallery.stats().tracklets == 0


def test_damaged_boxes_are_named(world):
    with (world.data / "boxes/cam.csv").open("a") as file:
        file.write("cam1_t0001,x.jpg,ten,0,1,2,3,4,1,0\n")
    with pytest.raises(DataError, match=r"cam.csv, line \d+: the columns frame, .* 'ten'"):
        read_tracklets(world.data, Naming())


@pytest.mark.parametrize("head", ["ica", "gao_rnn"])
def test_pictures_embed_as_a_tracklet_of_the_same_frames(world, tiny_recipe, head):
    """By frames (ica) and by whole clips (gao_rnn)."""
    model = replace(tiny_recipe.model, head=head)
    extractor = extractor_of(build_embedder(model, tiny_recipe.input, num_classes=2, seed=0).eval())
    tracklet, record = read_tracklets(world.data, Naming())[0]
    frames = [read_tracklet_frame(tracklet, i) for i in range(len(tracklet))]
    expected = next(iter(extractor.embed([tracklet], world.settings))).embedding
    network = Network(extractor, world.settings)
    np.testing.assert_allclose(network.embed([frames])[0], expected, rtol=1e-4, atol=1e-6)
    assert record.id == "cam1_t0001"
