"""`intraclip gallery` as a person types it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import write_tracklet
from intraclip.cli.gallery_flags import age, login, moment
from intraclip.cli.main import main as intraclip_main
from intraclip.cli.main import run as run_command
from intraclip.config import Recipe
from intraclip.embed.embeddings_writer import save_embeddings
from intraclip.errors import ConfigError, IntraclipError
from intraclip.gallery.gallery import open_gallery
from intraclip.gallery.records import Filters
from intraclip.metrics.embeddings import Embeddings
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import save_checkpoint

Command = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs with random weights, and a folder of twelve tracklets of six people in two cameras."""
    # Random layers behind the mean would blur who is who.
    recipe = replace(tiny_recipe, model=replace(tiny_recipe.model, head="tap"))
    for seed, name in enumerate(("run", "other")):
        model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=seed)
        save_checkpoint(
            tmp_path / name / "model.safetensors", model, recipe=recipe, pids=[1, 2], epoch=1, step=1
        )
    for pid in range(1, 7):
        for camid in (1, 2):
            t = write_tracklet(tmp_path / "made", pid=pid, camid=camid, frames=4)
            folder = tmp_path / "data/gallery" / str(pid) / str(camid) / "x"
            folder.mkdir(parents=True)
            for frame in t.frames:
                (tmp_path / "made" / frame).rename(folder / Path(frame).name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gallery(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command; returns what it printed, or the error's text."""

    def run(*argv: str) -> str:
        try:
            assert run_command("gallery", argv) == 0
        except IntraclipError as error:
            return f"error: {error}"
        captured = capsys.readouterr()
        return captured.out if "--json" in argv else captured.out + captured.err

    return run


@pytest.fixture
def filled(workspace: Path, gallery: Command) -> Path:
    gallery("add", "g", "--data", "data", "--model", "run", "--camera-name", "1=hall")
    return workspace


ONE = "gallery/1/1/x"
"""Id of the tracklet of person 1 in camera 1."""


def test_adding_makes_the_gallery_and_can_be_repeated(workspace, gallery):
    first = json.loads(gallery("add", "g", "--data", "data", "--model", "run", "--json"))
    assert (first["added"], first["skipped"], first["tracklets"]) == (12, 0, 12)
    again = gallery("add", "g", "--data", "data", "--model", "run")
    assert "added 0 tracklets, 12 were there already; 12 are in g" in again
    more = json.loads(gallery("add", "g", "--data", "data", "--model", "run", "--prefix", "b/", "--json"))
    assert (more["added"], more["tracklets"]) == (12, 24)


def test_another_model_or_sampling_is_refused_and_both_are_named(filled, gallery):
    with open_gallery("g") as opened:
        mine = opened.info.fingerprint[:16]
    for flags in (["--model", "other"], ["--model", "run", "--sampling", "all"]):
        said = gallery("add", "g", "--data", "data", *flags)
        assert said.startswith("error: the gallery g holds embeddings of")
        assert mine in said
    said = gallery("search", "g", "--images", "data/gallery/1/1/x/0001C1T0001F001.jpg", "--model", "other")
    assert said.startswith("error: the gallery g holds embeddings of")


def test_a_tracklet_is_searched_for_in_other_cameras(filled, gallery):
    found = json.loads(gallery("search", "g", "--tracklet", ONE, "--k", "4", "--json"))
    assert [m["rank"] for m in found["matches"]] == [1, 2, 3, 4]
    assert {m["camera"] for m in found["matches"]} == {"cam2"}
    assert found["matches"][0]["probability"] is None
    both = json.loads(gallery("search", "g", "--tracklet", ONE, "--k", "20", "--own-camera", "--json"))
    assert len(both["matches"]) == 11
    one = json.loads(gallery("search", "g", "--tracklet", ONE, "--own-camera", "--camera", "hall", "--json"))
    assert len(one["matches"]) == 5
    assert "nothing passes the filters" in gallery("search", "g", "--tracklet", ONE, "--camera", "door")
    table = gallery("search", "g", "--tracklet", ONE, "--out", "found.png")
    assert "cosine" in table
    assert cv2.imread("found.png").shape[0] > 128


def test_frames_of_a_tracklet_find_that_tracklet(filled, gallery):
    images = sorted(map(str, (filled / "data" / ONE).iterdir()))
    found = json.loads(gallery("search", "g", "--images", *images, "--model", "run", "--json"))
    assert found["matches"][0]["id"] == ONE
    assert found["matches"][0]["distance"] < 1e-5
    elsewhere = json.loads(
        gallery("search", "g", "--images", *images, "--model", "run", "--exclude-camera", "hall", "--json")
    )
    assert {m["camera"] for m in elsewhere["matches"]} == {"cam2"}


def test_a_box_in_a_video_finds_who_is_in_it(filled, gallery):
    images = [cv2.imread(str(p)) for p in sorted((filled / "data" / ONE).iterdir())]
    writer = cv2.VideoWriter("street.avi", cv2.VideoWriter_fourcc(*"FFV1"), 10, (96, 80))
    for image in images:
        frame = np.full((80, 96, 3), 60, np.uint8)
        frame[20:68, 40:64] = image
        writer.write(frame)
    writer.release()
    box = ["--video", "street.avi", "--frame", "2", "--box", "40,20,24,48"]
    found = json.loads(gallery("search", "g", *box, "--model", "run", "--json"))
    assert found["matches"][0]["id"] == ONE
    assert "error: --box" in gallery("search", "g", *box[:-1], "40,20", "--model", "run")
    assert "belong together" in gallery(
        "search", "g", "--video", "street.avi", "--frame", "2", "--model", "run"
    )
    whole = json.loads(gallery("search", "g", "--video", "street.avi", "--model", "run", "--json"))
    assert len(whole["matches"]) == 10


def test_queries_that_cannot_be_are_refused(filled, gallery):
    assert "name one query" in gallery("search", "g")
    assert "name one query" in gallery("search", "g", "--tracklet", ONE, "--video", "x.mp4")
    said = gallery("search", "g", "--images", "x.jpg")
    assert "no network that is here by name made them: name it with --model" in said
    assert "intraclip gallery add NEW --data DIR --labels-of g" in said
    assert "has no tracklet 'ghost'" in gallery("search", "g", "--tracklet", "ghost")
    assert "k is 0" in gallery("search", "g", "--tracklet", ONE, "--k", "0")
    Path("text.jpg").write_text("not a picture")
    assert "no image" in gallery("search", "g", "--images", "text.jpg", "--model", "run")
    assert ".png or .jpg" in gallery("search", "g", "--tracklet", ONE, "--out", "x.txt")
    assert "has none" in gallery("search", "g", "--tracklet", ONE, "--false-match-rate", "0.01")
    assert "--since 'noon'" in gallery("search", "g", "--tracklet", ONE, "--since", "noon")


def test_show_list_and_stats_tell_what_is_there(filled, gallery):
    shown = json.loads(gallery("show", "g", ONE, "--json"))
    assert (shown["camera"], shown["num_frames"], shown["crops"], shown["judgements"]) == ("hall", 4, 4, [])
    assert "strip.jpg" in gallery("show", "g", ONE, "--out", "strip.jpg")
    assert cv2.imread("strip.jpg").shape == (128, 4 * 66 - 2, 3)
    page = json.loads(gallery("list", "g", "--limit", "5", "--json"))
    assert len(page["records"]) == 5
    rest = json.loads(gallery("list", "g", "--cursor", page["cursor"], "--json"))
    assert len(rest["records"]) == 7
    assert rest["cursor"] == ""
    assert len(json.loads(gallery("list", "g", "--camera", "hall", "--json"))["records"]) == 6
    assert "--cursor" in gallery("list", "g", "--limit", "5")
    stats = json.loads(gallery("stats", "g", "--json"))
    assert stats["cameras"] == {"cam2": 6, "hall": 6}
    assert stats["size_bytes"] > 10_000
    text = gallery("stats", "g")
    assert f"fingerprint {stats['info']['fingerprint']}" in text
    assert "12 tracklets" in text


def test_a_start_of_a_video_that_is_not_there_is_refused(workspace, gallery):
    """Else its tracklets would have no date, and adding them again would change nothing."""
    told = gallery("add", "g", "--data", "data", "--model", "run", "--started-at", "hal.mp4=2026-01-01T00:00")
    assert "no tracklet of data is from 'hal.mp4', whose start is given; they are from data" in told
    assert not Path("g").exists()
    gallery("add", "g", "--data", "data", "--model", "run", "--started-at", "data=2026-01-01T00:00")
    assert json.loads(gallery("show", "g", ONE, "--json"))["started_at"] is not None


def test_a_name_that_nothing_has_is_told_beside_what_there_is(filled, gallery):
    known = "note: no tracklet of the gallery has the camera 'hal'; there are: cam2, hall"
    for command in (("search", "g", "--tracklet", ONE), ("list", "g"), ("delete", "g", "--dry-run")):
        told = gallery(*command, "--camera", "hal", "cam2")
        assert known in told
        assert "gallery/2/2/x" in told
    assert known in gallery("search", "g", "--tracklet", ONE, "--exclude-camera", "hal")
    told = gallery("list", "g", "--person", "Ann", "--source", "x.mp4")
    assert "the person 'Ann'; there are: none" in told
    assert "the source 'x.mp4'; there are: data" in told
    assert "note" not in gallery("list", "g", "--camera", "hall")


def test_a_search_in_its_own_camera_alone_says_how(filled, gallery):
    told = gallery("search", "g", "--tracklet", ONE, "--camera", "hall")
    assert f"note: {ONE} is of the camera 'hall' itself, which is left out without --own-camera" in told
    assert "nothing passes the filters" in told
    assert "note" not in gallery("search", "g", "--tracklet", ONE, "--camera", "hall", "--own-camera")


def test_deletion_says_what_was_removed(filled, gallery):
    planned = gallery("delete", "g", "--id", ONE, "--dry-run")
    assert "would remove 1 tracklets with their embeddings, 5 pictures" in planned
    assert "12 tracklets" in gallery("stats", "g")
    deleted = json.loads(gallery("delete", "g", "--id", ONE, "--json"))
    assert deleted["ids"] == [ONE]
    assert deleted["complete"]
    assert "nothing was removed" in gallery("delete", "g", "--id", ONE, "gallery/2/1/x")
    assert "camera hall: 5" in gallery("delete", "g", "--camera", "hall")
    assert "removed 0 tracklets" in gallery("delete", "g", "--older-than", "30d")
    assert "say which tracklets" in gallery("delete", "g")
    assert "--older-than '30'" in gallery("delete", "g", "--older-than", "30")
    time.sleep(0.01)
    assert "removed 6 tracklets" in gallery("delete", "g", "--older-than", "0s")


def test_old_tracklets_go_by_when_they_were_seen(workspace, gallery):
    gallery("add", "g", "--data", "data", "--model", "run", "--started-at", "2020-01-01T00:00")
    assert "removed 12 tracklets" in gallery("delete", "g", "--older-than", "52w")


def test_a_calibrated_gallery_gives_probabilities(filled, gallery):
    assert intraclip_main(["extract", "run", "--data", "data", "--out", "labelled.npz"]) == 0
    table = gallery("calibrate", "g", "--labelled", "labelled.npz", "--prior", "0.1")
    assert "6 people, 6 pairs of one person" in table
    found = json.loads(
        gallery("search", "g", "--tracklet", ONE, "--k", "6", "--false-match-rate", "0.45", "--json")
    )
    likely = [m["probability"] for m in found["matches"]]
    assert likely == sorted(likely, reverse=True)
    assert all(m["passes"] == (m["distance"] < found["threshold"]) for m in found["matches"])
    assert "same person: cosine distance below" in gallery(
        "search", "g", "--tracklet", ONE, "--false-match-rate", "0.45"
    )
    intraclip_main(["extract", "other", "--data", "data", "--out", "others.npz"])
    assert "another model" in gallery("calibrate", "g", "--labelled", "others.npz")


def test_a_file_of_embeddings_fills_a_gallery(workspace, gallery):
    intraclip_main(["extract", "run", "--data", "data", "--out", "e.npz"])
    bare = json.loads(gallery("add", "bare", "--embeddings", "e.npz", "--distance", "euclidean", "--json"))
    assert bare["added"] == 12
    assert json.loads(gallery("stats", "bare", "--json"))["info"]["metric"] == "euclidean"
    assert "there are no pictures" in gallery("show", "bare", ONE, "--out", "x.jpg")
    gallery("add", "full", "--embeddings", "e.npz", "--data", "data", "--people")
    shown = json.loads(gallery("show", "full", ONE, "--json"))
    assert (shown["crops"], shown["person"]) == (4, "1")
    np.savez("mute.npz", features=np.ones((1, 4)), pids=[1], camids=[1], is_query=[True], names=["a"])
    assert "does not say which model" in gallery("add", "new", "--embeddings", "mute.npz")
    assert not Path("new").exists()


def test_a_camera_that_saw_nobody_is_told_where_it_is_named(workspace, gallery):
    told = "note: nothing here is from camera 7, which --camera-name names"
    named = ("--camera-name", "1=hall", "7=roof")
    assert told in gallery("add", "g", "--data", "data", "--model", "run", *named)
    intraclip_main(["extract", "run", "--data", "data", "--out", "e.npz"])
    assert told in gallery("add", "bare", "--embeddings", "e.npz", *named)
    assert told not in gallery("add", "h", "--data", "data", "--model", "run", "--camera-name", "1=hall")


def test_a_gallery_of_another_network_takes_over_what_people_said(filled, gallery):
    with open_gallery("g") as opened:
        opened.set_person([ONE, "gallery/2/1/x"], "anna")
        opened.confirm(ONE, "gallery/1/2/x", by="kim")
        opened.reject(ONE, "gallery/3/2/x")
        opened.delete(Filters(ids=("gallery/3/1/x",)))
    assert "gone is no gallery" in gallery(
        "add", "new", "--data", "data", "--model", "other", "--labels-of", "gone"
    )
    assert not Path("new").exists()
    said = gallery("add", "new", "--data", "data", "--model", "other", "--labels-of", "g")
    assert "took over 4 labels and judgements of g" in said
    with open_gallery("new") as opened:
        assert opened.stats().tracklets == 12
        assert [r.id for r in opened.all_records() if r.person == "anna"] == [ONE, "gallery/2/1/x"]
        assert [(j.tracklet, j.same, j.by) for j in opened.judgements()] == [
            ("gallery/1/2/x", True, "kim"),
            ("gallery/3/2/x", False, ""),
        ]
        assert [e.action for e in opened.audit_log()] == ["take labels", "add"]
        opened.set_person([ONE], "berta")
        opened.reject(ONE, "gallery/1/2/x")
    said = gallery("add", "new", "--data", "data", "--model", "other", "--labels-of", "g")
    assert "took over 0 labels and judgements of g" in said  # what was corrected since stays
    with open_gallery("new") as opened:
        assert opened.record(ONE).person == "berta"
        assert [j.same for j in opened.judgements() if j.tracklet == "gallery/1/2/x"] == [False]


def test_labels_are_exported_to_train_on(filled, gallery):
    assert "nothing to export" in gallery("export-labels", "g", "--out", "labels")
    with open_gallery("g") as opened:
        for pid in (1, 2, 3):
            opened.confirm(f"gallery/{pid}/1/x", f"gallery/{pid}/2/x")
    said = json.loads(gallery("export-labels", "g", "--out", "labels", "--json"))
    assert (said["people"], said["tracklets"], said["frames"]) == (3, 6, 24)
    gallery("export-labels", "g", "--out", "whole", "--data", "data")
    assert len(list((filled / "whole/tracklets/000001").iterdir())) == 4


def test_places_that_are_no_gallery_are_refused(workspace, gallery):
    assert "is no gallery: there is no such folder" in gallery("stats", "nowhere")
    assert "is no gallery: it holds no gallery.sqlite" in gallery(
        "add", "data", "--data", "data", "--model", "run"
    )
    assert "name --data DIR, or --embeddings FILE" in gallery("add", "g", "--run", "run")
    assert "no address of a gallery" in gallery("stats", "milvus://x")


def test_another_distance_than_the_gallery_has_is_refused(filled, gallery):
    said = gallery("add", "g", "--data", "data", "--model", "run", "--distance", "euclidean")
    assert said.startswith("error: the gallery g measures cosine distances")
    again = gallery(
        "add", "g", "--data", "data", "--model", "run", "--camera-name", "1=hall", "--distance", "cosine"
    )
    assert "12 were there already" in again


def test_a_refused_first_addition_leaves_no_gallery(workspace, gallery):
    zero = Embeddings(
        features=np.zeros((1, 4), np.float32),
        pids=np.array([1]),
        camids=np.array([1]),
        is_query=np.array([True]),
        names=("a",),
    )
    save_embeddings(Path("zero.npz"), zero, metadata={"fingerprint": "f" * 64})
    assert gallery("add", "new", "--embeddings", "zero.npz").startswith("error: ")
    assert not Path("new").exists()
    assert gallery("add", "new", "--data", "nowhere", "--model", "run").startswith("error: ")
    assert not Path("new").exists()
    assert "added 12" in gallery("add", "new", "--data", "data", "--model", "run")


MARKUP = "Smith [/] [red]=cmd|:smile: \\[bold]"


def test_text_that_looks_like_markup_stays_text(filled, gallery):
    gallery("add", "g", "--data", "data", "--model", "run", "--prefix", "[/x]", "--camera-name", "1=[/red]")
    with open_gallery("g") as opened:
        opened.set_person([ONE, "gallery/1/2/x"], MARKUP)
    for command in (
        ["stats", "g"],
        ["list", "g", "--limit", "100"],
        ["search", "g", "--tracklet", "gallery/2/1/x", "--k", "30", "--person", MARKUP],
        ["show", "g", ONE],
    ):
        assert MARKUP in gallery(*command), command
    assert "[/x]gallery/1/1/x" in gallery("list", "g", "--limit", "100")
    assert "[/red]" in gallery("stats", "g")
    assert "camera [/red]: 6" in gallery("delete", "g", "--camera", "[/red]")


def test_what_people_want_next_is_said_and_can_be_pasted(workspace, gallery):
    said = gallery("add", "my people", "--data", "data", "--model", "run", "--prefix", "a b/")
    hint = next(line for line in said.splitlines() if line.startswith("next: "))
    command = shlex.split(hint.removeprefix("next: "))
    assert command[:2] == ["intraclip", "gallery"]
    assert "cosine" in gallery(*command[2:])
    assert "intraclip serve 'my people'" in said
    more = gallery("list", "my people", "--limit", "1")
    assert "--cursor 'a b/gallery/1/1/x'" in more


def test_what_is_seen_and_changed_stands_in_the_log_once(filled, gallery):
    images = sorted(map(str, (filled / "data" / ONE).iterdir()))
    gallery("search", "g", "--tracklet", ONE, "--person", "Ann", "--out", "found.png")
    gallery("search", "g", "--images", *images, "--model", "run")
    gallery("show", "g", ONE, "--out", "strip.jpg")
    gallery("list", "g")
    gallery("delete", "g", "--id", ONE, "--dry-run")
    gallery("delete", "g", "--id", ONE)
    gallery("delete", "g", "--camera", "nowhere")
    gallery("search", "g", "--tracklet", "nobody")
    gallery("export-labels", "g", "--out", "labels")
    with open_gallery("g") as opened:
        lines = opened.audit_log()
    assert [e.action for e in reversed(lines)] == [
        "add", "search", "search-upload", "show", "list", "delete", "export-labels",
    ]  # fmt: skip
    assert {e.origin for e in lines} == {"command line"}
    assert {e.actor for e in lines} == {login()}
    assert lines[1].detail["ids"] == [ONE]
    assert lines[5].detail == {"tracklet": ONE, "k": 10, "filters": {"people": 1}, "pictures": True}
    assert oct(Path("found.png").stat().st_mode)[-3:] == oct(Path("strip.jpg").stat().st_mode)[-3:] == "600"


def test_the_log_names_the_user_whatever_the_environment_says(monkeypatch):
    before = login()
    monkeypatch.setenv("LOGNAME", "somebody else")
    monkeypatch.setenv("USER", "somebody else")
    assert login() == before != ""


def test_a_time_in_the_future_is_reported_and_can_be_deleted(filled, gallery, monkeypatch):
    with monkeypatch.context() as clock:
        now = time.time()
        clock.setattr(time, "time", lambda: now + 400 * 86_400)
        gallery("add", "g", "--data", "data", "--model", "run", "--prefix", "later/")
    assert "note: 12 tracklets carry a time ahead of this machine's clock" in gallery("stats", "g")
    said = gallery("delete", "g", "--older-than", "30d")
    assert "removed 0 tracklets" in said
    assert "intraclip gallery delete g --ahead" in said
    assert "contradict" in gallery("delete", "g", "--older-than", "30d", "--ahead")
    assert "removed 12 tracklets" in gallery("delete", "g", "--ahead")
    assert "ahead" not in gallery("stats", "g")


def test_check_finds_damage_and_saves_the_rest(filled, gallery, capsys):
    assert "12 tracklets, no damage" in gallery("check", "g")
    data = bytearray(Path("g/gallery.sqlite").read_bytes())
    with open_gallery("g") as opened:
        strip = opened.strip(ONE)
    data[data.index(strip[-60:]) + 3] ^= 1
    Path("g/gallery.sqlite").write_bytes(data)
    assert run_command("gallery", ["check", "g"]) == 2
    assert f"the pictures of tracklet '{ONE}'" in capsys.readouterr().out
    assert "is damaged" in gallery("show", "g", ONE, "--out", "strip.jpg")
    saved = json.loads(gallery("check", "g", "--out", "new", "--json"))
    assert saved["saved"]["tracklets"] == 12
    assert saved["saved"]["without_pictures"] == [ONE]
    assert "12 tracklets, no damage" in gallery("check", "new")
    assert "not empty" in gallery("check", "g", "--out", "new")


def test_times_and_ages_are_read():
    assert age("30d") == 30 * 86_400
    assert age("1.5h") == 5_400
    assert moment("2026-11-22T08:00+00:00", "--since") == 1_795_334_400
    with pytest.raises(ConfigError, match="--older-than 'soon'"):
        age("soon")


def test_the_command_explains_itself(capsys):
    assert run_command("gallery", []) == 0
    assert "export-labels" in capsys.readouterr().out
    assert intraclip_main(["gallery", "drop"]) == 2
    assert "there are add, search" in capsys.readouterr().err
