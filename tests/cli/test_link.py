"""`intraclip link` as a person types it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import write_tracklet
from intraclip.cli.main import main
from intraclip.cli.main import run as run_command
from intraclip.data.readers import read_split
from intraclip.embed.embeddings_io import read_embeddings
from intraclip.embed.embeddings_writer import save_embeddings
from intraclip.embed.score import calibrate_file
from intraclip.errors import ConfigError, DataError, IntraclipError, OutputError
from intraclip.gallery.adding import Naming, add_embeddings
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import Filters, TrackletRecord
from intraclip.link import people as people_module
from intraclip.link.travel import read_travel_times
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.match_probability import read_calibration
from intraclip.models.checkpoint import read_checkpoint
from link.link_world import World, make_world, walks
from tiny_recipe import RECIPE

FINGERPRINT = "f" * 64


def save(path: Path, world: World, *, labels: bool = True, times: bool = True) -> Path:
    e = world.embeddings
    if not labels:
        e.pids[:] = -2
    save_embeddings(
        path, e, times=world.evidence.times if times else None, metadata={"fingerprint": FINGERPRINT}
    )
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "embeddings.npz", make_world(people=8, noise=0.15))


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return save(tmp_path / "labelled.npz", make_world(people=30, noise=0.15, seed=5))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*argv: object) -> str:
        capsys.readouterr()
        assert run_command("link", [*map(str, argv), "--out", str(tmp_path / "out")]) == 0
        return capsys.readouterr().out

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "people.csv").read_text(encoding="utf-8").splitlines()))


def test_without_anything_else_the_data_choose_the_threshold(run: Callable[..., str], tmp_path: Path):
    file = save(tmp_path / "embeddings.npz", make_world(people=8, noise=0.15, seed=1))
    out = run(file, "--distance", "euclidean")
    assert "by this footage itself" in out
    assert "24 tracklets, 8 people: 8 in two cameras or more, 0 seen once" in out
    assert "against known pids" in out
    assert all(0.5 < float(row["probability"]) <= 1 for row in rows_of(tmp_path / "out"))
    assert len(rows_of(tmp_path / "out")) == 24
    assert "Person 8" in (tmp_path / "out" / "people.html").read_text(encoding="utf-8")


def test_scores_of_boxes_need_the_folder_of_ingest(file: Path, tmp_path: Path):
    pytest.importorskip("trackers")
    with pytest.raises(ConfigError, match="--truth needs the tracks of `intraclip ingest`"):
        run_command("link", [str(file), "--truth", str(tmp_path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_labelled_embeddings_calibrate_and_are_kept_for_next_time(
    run: Callable[..., str], file: Path, labelled: Path, tmp_path: Path
):
    saved = tmp_path / "calibration.json"
    run(file, "--calibration", labelled, "--distance", "euclidean", "--save-calibration", saved)
    first = rows_of(tmp_path / "out")
    assert all(0 < float(row["probability"]) < 1 for row in first)
    assert read_calibration(saved).fingerprint == FINGERPRINT
    (tmp_path / "out").rename(tmp_path / "before")
    out = run(file, "--calibration", saved)  # the distance is that of the calibration
    assert rows_of(tmp_path / "out") == first
    assert "mean euclidean distance below" in out


def test_json_holds_everything(run: Callable[..., str], file: Path):
    found = json.loads(run(file, "--threshold", 1.2, "--distance", "euclidean", "--json"))
    assert found["people"] == found["across_cameras"] == 8
    assert found["scores"]["f1"] == found["scores"]["idf1"] == 1
    assert not found["scores"]["weighted"]
    assert found["tracklets"][0]["probability"] is None
    assert "as given" in found["rule"]


def test_without_labels_nothing_is_scored(run: Callable[..., str], tmp_path: Path):
    path = save(tmp_path / "plain.npz", make_world(people=8, noise=0.15), labels=False, times=False)
    found = json.loads(run(path, "--threshold", 2.0, "--distance", "euclidean", "--json"))
    assert found["scores"] is None
    assert found["tracklets"][0]["start_s"] is None
    assert any(note.startswith("no times") for note in found["notes"])


def test_the_prior_and_the_probability_move_a_calibrated_link(
    run: Callable[..., str], labelled: Path, tmp_path: Path
):
    file = save(tmp_path / "hard.npz", make_world(people=20, noise=0.8, seed=2))
    counts = []
    for argv in (["--prior", 0.5], [], ["--prior", 0.001], ["--prior", 0.001, "--probability", 0.9]):
        common = [file, "--calibration", labelled, "--distance", "euclidean", "--json"]
        counts.append(json.loads(run(*common, *argv))["people"])
        (tmp_path / "out").rename(tmp_path / f"out{len(counts)}")
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_travel_times_are_read(run: Callable[..., str], file: Path, tmp_path: Path):
    travel = tmp_path / "travel.toml"
    travel.write_text(
        "[[travel]]\ncameras = [1, 2]\nminimum_s = 5000\n[[travel]]\ncameras = [2, 9]\nminimum_s = 1\n"
    )
    with pytest.raises(ConfigError, match=r"--travel needs one clock a camera.*add --one-clock"):
        run(file, "--threshold", 2, "--distance", "euclidean", "--travel", travel)
    found = json.loads(
        run(file, "--threshold", 2, "--distance", "euclidean", "--travel", travel, "--one-clock", "--json")
    )
    people: dict[int, set[int]] = {}
    for row in found["tracklets"]:
        people.setdefault(row["person"], set()).add(row["camera"])
    assert not any({1, 2} <= cameras for cameras in people.values())
    assert any("names cameras without tracklets: 9" in note for note in found["notes"])


def test_times_between_cameras_are_learned_and_written_down(run: Callable[..., str], tmp_path: Path):
    evidence, pids = walks(0)
    names = tuple(f"t{row:04d}" for row in range(len(pids)))
    path = save(tmp_path / "walks.npz", World(names=names, pids=pids, evidence=evidence))
    flags = ("--distance", "cosine", "--one-clock")
    assert json.loads(run(path, *flags, "--json"))["travel"]["links"] > 10
    table, kept = tmp_path / "out" / "travel.toml", tmp_path / "travel.toml"
    assert read_travel_times(table).others is not None
    assert f"are in {table}" in run(path, *flags)
    with pytest.raises(ConfigError, match="copy it elsewhere"):
        run(path, *flags, "--travel", table)
    shutil.copy(table, kept)
    table.write_text(table.read_text() + "# corrected\n")
    with pytest.raises(OutputError, match="link --travel"):
        run(path, *flags)
    table.unlink()
    assert json.loads(run(path, *flags, "--travel", kept, "--no-travel", "--json"))["travel"] is None
    assert not table.exists()


def two_videos(path: Path, names: list[str]) -> Path:
    """Two people, each in two videos of camera 1 that both count from 0 s; then two more who are there together."""
    features = np.eye(4, dtype=np.float32)[[0, 1, 0, 1, 2, 3]]
    e = Embeddings(
        features=features,
        pids=np.array([1, 2, 1, 2, 3, 4]),
        camids=np.ones(6, dtype=np.int64),
        is_query=np.zeros(6, dtype=bool),
        names=tuple(names),
    )
    times = np.array([[0, 9], [20, 29], [0, 9], [20, 29], [40, 49], [40, 49]], dtype=np.float64)
    save_embeddings(path, e, times=times, metadata={"fingerprint": FINGERPRINT})
    return path


INGESTED = [*("cam1_t0001", "cam1_t0002", "cam1v2_t0001", "cam1v2_t0002"), "cam1v2_t0003p1", "cam1v2_t0004"]


def groups(found: dict[str, Any]) -> set[frozenset[str]]:
    people: dict[int, set[str]] = {}
    for row in found["tracklets"]:
        people.setdefault(row["person"], set()).add(row["tracklet"])
    return {frozenset(names) for names in people.values()}


def test_names_of_ingest_tell_the_videos_of_a_camera_apart(run: Callable[..., str], tmp_path: Path):
    found = json.loads(run(two_videos(tmp_path / "e.npz", INGESTED), "--threshold", 0.5, "--json"))
    a, b, again_a, again_b, c, d = INGESTED
    assert groups(found) == {frozenset({a, again_a}), frozenset({b, again_b}), frozenset({c}), frozenset({d})}
    assert any(note.startswith("1 pairs were seen by one camera at once") for note in found["notes"])
    assert not any("nothing says" in note for note in found["notes"])


def test_videos_of_one_file_name_are_told_apart_by_the_names_of_tracklets(
    run: Callable[..., str], tmp_path: Path
):
    """`ingest monday/cam1.mp4 tuesday/cam1.mp4 --same-camera`."""
    rows = []
    for number, name in enumerate(INGESTED):
        write_tracklet(tmp_path / "data" / "tracklets" / name, pid=1, camid=1, frames=2)
        rows.append(f"{name},tracklets/{name}/0001,,1,,cam1.mp4,{number}.000,{number + 1}.000\n")
    manifest = tmp_path / "data" / "tracklets.csv"
    manifest.write_text("tracklet,folder,pid,camid,subset,video,start_s,end_s\n" + "".join(rows))
    file = two_videos(tmp_path / "e.npz", INGESTED)
    found = json.loads(run(file, "--data", tmp_path / "data", "--threshold", 0.5, "--json"))
    assert found["people"] == 4
    labels = csv.DictReader((tmp_path / "out" / "tracklets.csv").read_text(encoding="utf-8").splitlines())
    assert [(r["video"], r["start_s"], r["end_s"]) for r in labels] == [
        ("cam1.mp4", f"{i}.000", f"{i + 1}.000") for i in range(6)
    ]


def test_where_recordings_are_unknown_no_times_are_compared(run: Callable[..., str], tmp_path: Path):
    file = two_videos(tmp_path / "e.npz", list("abcdef"))
    found = json.loads(run(file, "--threshold", 0.5, "--json"))
    assert {frozenset("ac"), frozenset("bd")} <= groups(found)
    assert any("which recordings 6 tracklets are from" in note for note in found["notes"])
    assert not any("at once" in note for note in found["notes"])
    (tmp_path / "out").rename(tmp_path / "before")
    told = json.loads(run(file, "--threshold", 0.5, "--one-clock", "--json"))
    assert told["people"] == 6
    assert any(note.startswith("3 pairs were seen by one camera at once") for note in told["notes"])


@pytest.mark.parametrize(("names", "people"), [(INGESTED, 4), (list("abcdef"), 4)])
def test_a_gallery_made_from_an_embeddings_file_does_not_mix_videos(
    run: Callable[..., str], tmp_path: Path, names: list[str], people: int
):
    file = read_embeddings(two_videos(tmp_path / "e.npz", names))
    with create_gallery(
        tmp_path / "gallery", fingerprint=FINGERPRINT, dimension=4, metric="cosine"
    ) as gallery:
        add_embeddings(gallery, file, Naming(prefix="yard/"))
    found = json.loads(run(tmp_path / "gallery", "--threshold", 0.5, "--json"))
    assert found["people"] == people


def test_scores_on_the_people_of_the_calibration_are_said_to_be_too_good(
    run: Callable[..., str], labelled: Path, file: Path, tmp_path: Path
):
    copy = tmp_path / "copy.npz"
    copy.write_bytes(labelled.read_bytes())
    for number, (source, shared) in enumerate(((labelled, True), (copy, True), (file, False))):
        out = run(source, "--calibration", labelled, "--distance", "euclidean")
        note = "note: 90 of the 90 tracklets are among those that the calibration was fitted on"
        assert (note in out) == shared
        assert ("was fitted on" in out) == shared
        (tmp_path / "out").rename(tmp_path / f"out{number}")


@pytest.mark.parametrize("how", ["network", "prior", "threshold"])
def test_a_calibration_that_does_not_fit_is_not_kept(file: Path, tmp_path: Path, how: str):
    world = make_world(people=30, noise=0.15, seed=5)
    fingerprint = "e" * 64 if how == "network" else FINGERPRINT
    save_embeddings(
        tmp_path / "other.npz", world.embeddings, times=None, metadata={"fingerprint": fingerprint}
    )
    argv = [file, "--calibration", tmp_path / "other.npz", "--save-calibration", tmp_path / "cal.json"]
    argv += {"network": [], "prior": ["--prior", "2"], "threshold": ["--threshold", "1"]}[how]
    with pytest.raises(IntraclipError):
        run_command("link", [*map(str, argv), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "cal.json").exists()


def test_the_file_of_score_is_a_calibration_too(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    world = make_world(people=30, noise=0.15, seed=5)
    e = world.embeddings
    e.is_query[::3] = True
    monkeypatch.chdir(tmp_path)
    save_embeddings(Path("LABELLED.npz"), e, times=None, metadata={"fingerprint": FINGERPRINT})
    labelled = read_embeddings(Path("LABELLED.npz"))
    written, _ = calibrate_file(labelled, protocol="cross-camera", distance="euclidean")
    Path("cal.json").write_text(json.dumps(written.to_json_dict()))
    argv = [file.name, "--out", "out", "--calibration", "cal.json", "--distance", "euclidean"]
    assert run_command("link", argv) == 0
    assert read_calibration(Path("cal.json")).fingerprint == FINGERPRINT


def test_a_data_folder_brings_strips_frames_and_labels(run: Callable[..., str], tmp_path: Path):
    data = tmp_path / "data"
    rows = []
    for pid in (1, 2, 3):
        for camid in (1, 2):
            name = f"cam{camid}_p{pid}"
            write_tracklet(data / "tracklets" / name, pid=1, camid=camid, frames=3)
            folder = f"tracklets/{name}/0001"
            rows.append(f"{name},{folder},,{camid},,cam{camid}.mp4\n")
    (data / "tracklets.csv").write_text("tracklet,folder,pid,camid,subset,video\n" + "".join(rows))
    split = read_split(data)
    world = make_world(people=3, cameras=2, noise=0.01)
    e = world.embeddings
    file = tmp_path / "e.npz"
    np.savez(
        file,
        features=e.features,
        pids=e.pids,
        camids=e.camids,
        is_query=e.is_query,
        names=np.array([f"cam{c}_p{p}" for p, c in zip(e.pids, e.camids, strict=True)]),
    )
    found = json.loads(run(file, "--data", data, "--threshold", 1, "--distance", "euclidean", "--json"))
    assert found["scores"]["weighted"]
    page = (tmp_path / "out" / "people.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == len(split.gallery)
    # The labels are training people at once, and stay so where they are put into the data folder.
    labels = tmp_path / "out" / "tracklets.csv"
    (tmp_path / "recipe.toml").write_text(RECIPE)
    learn = [
        "train",
        "--recipe",
        str(tmp_path / "recipe.toml"),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*learn, "--labels", str(labels), "--optimizer.epochs", "1"]) == 0
    assert read_checkpoint(tmp_path / "run/model.safetensors").pids == (1, 2, 3)
    assert main([*learn, "--labels", str(tmp_path / "none.csv"), "--resume"]) == 2
    labels.replace(data / "tracklets.csv")
    labelled = read_split(data)
    assert len(labelled.train) == 6
    assert len({t.pid for t in labelled.train}) == 3


def gallery_of(path: Path, world: World, *, wall: bool, same_number: bool = False) -> None:
    assert world.evidence.times is not None
    records = [
        TrackletRecord(
            id=name,
            camera=f"yard{camid}",
            camid=1 if same_number else int(camid),
            start_s=float(start),
            end_s=float(end),
            started_at=1_700_000_000 + float(start) if wall else None,
            source="monday.mp4",
            num_frames=4,
        )
        for name, camid, (start, end) in zip(
            world.names, world.evidence.camids.tolist(), world.evidence.times.tolist(), strict=True
        )
    ]
    with create_gallery(path, fingerprint=FINGERPRINT, dimension=8, metric="euclidean") as gallery:
        gallery.add(records, world.evidence.features, fingerprint=FINGERPRINT)
        gallery.set_calibration(
            fit_calibration(make_world(people=30, noise=0.15, seed=5).embeddings, fingerprint=FINGERPRINT)
        )


@pytest.mark.parametrize("wall", [False, True])
def test_a_gallery_brings_its_metric_its_calibration_and_its_names(
    run: Callable[..., str], tmp_path: Path, wall: bool
):
    gallery_of(tmp_path / "gallery", make_world(people=8, noise=0.15), wall=wall)
    found = json.loads(run(tmp_path / "gallery", "--json"))
    assert found["people"] == 8
    assert "euclidean" in found["rule"]
    assert all(row["probability"] for row in found["tracklets"])
    assert (found["tracklets"][0]["start_s"] > 1_000_000_000) == wall
    assert "yard3" in (tmp_path / "out" / "people.html").read_text(encoding="utf-8")
    assert any("seen by one camera at once" in note for note in found["notes"])
    with pytest.raises(ConfigError, match="--data goes with an embeddings file"):
        run_command("link", [str(tmp_path / "gallery"), "--data", "x", "--out", str(tmp_path / "other")])


def test_cameras_of_a_gallery_that_share_a_number_are_kept_apart(run: Callable[..., str], tmp_path: Path):
    gallery_of(tmp_path / "gallery", make_world(people=8, noise=0.15), wall=True, same_number=True)
    found = json.loads(run(tmp_path / "gallery", "--json"))
    assert {row["camera"] for row in found["tracklets"]} == {1, 2, 3}
    assert any("numbers several cameras alike" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("argv", "kind", "words"),
    [
        (["--prior", "0.1"], ConfigError, "--prior needs a calibration, and nothing here has one"),
        (["--save-calibration", "x.json"], ConfigError, "--save-calibration needs --calibration"),
        (["--calibration", "LABELLED", "--threshold", "1"], ConfigError, "give one of them"),
        (["--calibration", "LABELLED", "--prior", "2"], DataError, "the prior is 2"),
        (["--calibration", "none.json"], DataError, "none.json cannot be read"),
        (["--travel", "none.toml"], ConfigError, "none.toml cannot be read"),
        (["--data", "nowhere"], IntraclipError, "nowhere"),
        (["--distance", "euclidean", "--probability", "0"], ConfigError, "must lie inside 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    file: Path, labelled: Path, tmp_path: Path, argv: list[str], kind: type[IntraclipError], words: str
):
    given = [str(labelled) if a == "LABELLED" else a for a in argv]
    with pytest.raises(kind, match=words):
        run_command("link", [str(file), "--out", str(tmp_path / "out"), *given])
    assert not (tmp_path / "out").exists()


def test_another_network_or_folder_is_refused(file: Path, labelled: Path, tmp_path: Path):
    saved = tmp_path / "calibration.json"
    found = fit_calibration(make_world(people=30, noise=0.15, seed=5).embeddings, fingerprint="e" * 64)
    saved.write_text(json.dumps(found.to_json_dict()))
    with pytest.raises(DataError, match="belongs to the network eeeeeeeeeeee"):
        run_command("link", [str(file), "--out", str(tmp_path / "out"), "--calibration", str(saved)])
    with pytest.raises(DataError, match="for euclidean distances, not cosine"):
        run_command(
            "link",
            [str(file), "--out", str(tmp_path / "out"), "--calibration", str(saved), "--distance", "cosine"],
        )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(OutputError, match="not empty"):
        run_command("link", [str(file), "--out", str(tmp_path / "full")])


def test_a_link_of_a_gallery_is_in_its_log(run: Callable[..., str], tmp_path: Path):
    gallery_of(tmp_path / "gallery", make_world(people=3, noise=0.15), wall=True)
    run(tmp_path / "gallery")
    with open_gallery(str(tmp_path / "gallery")) as gallery:
        (line,) = gallery.audit_log()
    assert (line.action, line.origin) == ("link", "command line")
    assert line.actor


def test_times_after_a_tracklet_was_added_forbid_nothing(run: Callable[..., str], tmp_path: Path):
    """Two of one camera at the same moment are two people, but not where a clock ran ahead."""
    for name, start in (("right", 1e9), ("ahead", 1e11)):
        with create_gallery(
            tmp_path / name, fingerprint=FINGERPRINT, dimension=2, metric="cosine"
        ) as gallery:
            records = [
                TrackletRecord(id=i, camera="a", camid=1, start_s=0.0, end_s=9.0, started_at=start)
                for i in "xy"
            ]
            gallery.add(records, np.ones((2, 2), np.float32), fingerprint=FINGERPRINT)
    found = json.loads(run(tmp_path / "right", "--threshold", 0.5, "--json"))
    assert found["people"] == 2
    shutil.rmtree(tmp_path / "out")
    found = json.loads(run(tmp_path / "ahead", "--threshold", 0.5, "--json"))
    assert found["people"] == 1
    assert any("2 tracklets, such as x, have times after they were added" in note for note in found["notes"])


def test_of_two_that_link_into_one_folder_one_is_refused(
    run: Callable[..., str], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both found it empty; the second takes nothing of the first away."""
    grouping = people_module.link

    def meanwhile(*args: Any, **options: Any) -> Any:
        (tmp_path / "out/people.csv").write_text("of the other one")
        return grouping(*args, **options)

    monkeypatch.setattr(people_module, "link", meanwhile)
    with pytest.raises(OutputError, match="made just now"):
        run_command("link", [str(file), "--out", str(tmp_path / "out")])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["people.csv"]
    assert (tmp_path / "out/people.csv").read_text() == "of the other one"


def person_of(found: dict[str, Any]) -> dict[str, int]:
    return {row["tracklet"]: row["person"] for row in found["tracklets"]}


def test_linked_again_with_new_footage_people_keep_their_numbers_and_names(
    run: Callable[..., str], tmp_path: Path, file: Path
):
    world = make_world(people=8, noise=0.15)
    monday = np.flatnonzero(world.pids <= 5)
    e = world.embeddings
    part = Embeddings(
        features=e.features[monday],
        pids=e.pids[monday],
        camids=e.camids[monday],
        is_query=e.is_query[monday],
        names=tuple(e.names[i] for i in monday.tolist()),
    )
    save_embeddings(tmp_path / "monday.npz", part, times=None, metadata={"fingerprint": FINGERPRINT})
    argv = ["--threshold", 1.2, "--distance", "euclidean", "--json"]
    before = json.loads(run(tmp_path / "monday.npz", *argv))
    assert before["changes"] is None
    # A name, typed into one row by a spreadsheet that saves semicolons.
    table = tmp_path / "out" / "people.csv"
    lines = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    anna = next(line for line in lines if line[1] == "3")
    anna[2] = "=Anna"
    table.write_text("\ufeff" + "\n".join(";".join(line) for line in lines), encoding="utf-8")
    after = json.loads(run(file, *argv))
    numbers = person_of(after)
    assert all(numbers[tracklet] == person for tracklet, person in person_of(before).items())
    assert set(numbers.values()) == set(range(1, 9))
    assert {row["name"] for row in after["tracklets"] if row["person"] == 3} == {"=Anna"}
    nothing = {"added": [], "merged": {}, "split": {}, "gone": [], "names": {}}
    assert after["changes"] == {**nothing, "kept": 5, "added": [6, 7, 8]}
    page = (tmp_path / "out" / "people.html").read_text(encoding="utf-8")
    assert "=Anna (person 3)" in page
    assert "Since the linking before: 5 people as they were, 3 new" in page
    assert {row["name"] for row in rows_of(tmp_path / "out") if row["person"] == "3"} == {"'=Anna"}
    # All as one: everybody is found to be another; then apart again, the name goes with the number.
    out = run(file, "--threshold", 99, "--distance", "euclidean")
    assert "7 found to be another" in out
    assert "person 2, =Anna (person 3), person 4" in out
    assert "are =Anna (person 1)" in out
    out = run(file, "--threshold", 1.2, "--distance", "euclidean")
    assert "was divided into" in out
    fresh = json.loads(run(file, *argv, "--renumber"))
    assert set(person_of(fresh).values()) == set(range(1, 9))
    assert {row["name"] for row in fresh["tracklets"]} == {""}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["links.json", "people.csv", "people.html"]


def test_what_fails_leaves_the_earlier_linking_whole(run: Callable[..., str], file: Path, tmp_path: Path):
    run(file, "--threshold", 1.2, "--distance", "euclidean")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(ConfigError):
        run(file, "--probability", 0)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out" / "links.json").write_text('{"links_version": 1}')
    with pytest.raises(DataError, match=r"links.json is damaged"):
        run(file)


def test_a_gallery_keeps_its_linking_wherever_the_next_one_goes(run: Callable[..., str], tmp_path: Path):
    world = make_world(people=8, noise=0.15)
    gallery_of(tmp_path / "gallery", world, wall=True)
    before = json.loads(run(tmp_path / "gallery", "--json"))
    numbers = person_of(before)
    with open_gallery(tmp_path / "gallery") as gallery:
        members = [t for t, p in numbers.items() if p == 2]
        gallery.set_person(members[:1], "Anna")
        gallery.delete(Filters(ids=frozenset(t for t, p in numbers.items() if p == 1)))
    shutil.rmtree(tmp_path / "out")
    after = json.loads(run(tmp_path / "gallery", "--json"))
    assert person_of(after) == {t: p for t, p in numbers.items() if p != 1}
    assert {row["name"] for row in after["tracklets"] if row["person"] == 2} == {"Anna"}
    # Who was deleted is not even known to be gone, and a label that is taken away is no name.
    with open_gallery(tmp_path / "gallery") as gallery:
        gallery.set_person(members[:1], "")
    again = json.loads(run(tmp_path / "gallery", "--json"))
    assert {row["name"] for row in again["tracklets"]} == {""}
    # A name that was typed into the table is the person's, here too.
    table = tmp_path / "out" / "people.csv"
    table.write_text(table.read_text().replace(",2,,", ",2,Eva,", 1))
    for folder in ("out", "elsewhere"):
        assert run_command("link", [str(tmp_path / "gallery"), "--out", str(tmp_path / folder)]) == 0
        assert {row["name"] for row in rows_of(tmp_path / folder) if row["person"] == "2"} == {"Eva"}
    nothing = {"added": [], "merged": {}, "split": {}, "gone": [], "names": {}}
    assert after["changes"] == {**nothing, "kept": 7}


def test_judgements_of_a_gallery_are_followed(run: Callable[..., str], tmp_path: Path):
    world = make_world(people=4, noise=0.15)
    gallery_of(tmp_path / "gallery", world, wall=True)
    a, b = world.names[0], world.names[1]  # one person
    other = world.names[3]
    with open_gallery(tmp_path / "gallery") as gallery:
        gallery.reject(a, b)
        gallery.confirm(a, other)
    numbers = person_of(json.loads(run(tmp_path / "gallery", "--json")))
    assert numbers[a] == numbers[other] != numbers[b]
    with open_gallery(tmp_path / "gallery") as gallery:
        gallery.confirm(other, b)  # so a is b, and is not
    found = json.loads(run(tmp_path / "gallery", "--json"))
    (note,) = [n for n in found["notes"] if "contradicts itself" in n]
    assert a in note
    numbers = person_of(found)
    assert numbers[a] != numbers[b]
