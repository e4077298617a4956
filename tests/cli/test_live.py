"""`intraclip live` and `intraclip alerts`, as they are typed."""

from __future__ import annotations

import json

import pytest

from intraclip.cli.main import main
from intraclip.gallery.gallery import open_gallery
from intraclip.live.alerts import Alerts
from intraclip.live.watchlist import Matcher, WatchList
from live.live_world import ColourDetector, make_gallery, network, vector, walk, write_clip


@pytest.fixture
def address(tmp_path):
    make_gallery(tmp_path / "people").close()
    return str(tmp_path / "people")


@pytest.fixture
def known(monkeypatch):
    """The network and the detector that know colours, in place of files."""
    monkeypatch.setattr("intraclip.cli.live.open_model_for", lambda flags, address: network())
    monkeypatch.setattr("intraclip.ingest.detector.open_detector", lambda path, config, **_: ColourDetector())


def run(capsys, *words):
    code = main(list(map(str, words)))
    return code, capsys.readouterr()


FLAGS = (
    "--detector",
    "colours",
    "--min-height",
    "32",
    "--min-width",
    "8",
    "--lost-seconds",
    "0.5",
    "--tiling",
    "off",
)


def test_a_clip_is_watched_and_somebody_on_the_list_raises_an_alert_that_is_judged(
    address, known, tmp_path, capsys
):
    assert run(capsys, "alerts", "watch", address, "--tracklet", "red", "--name", "anna")[0] == 0
    clip = write_clip(tmp_path / "clip.avi", walk("red", step=4), frames=48)
    code, said = run(capsys, "live", address, "--camera", f"hall={clip}", "--speed", "0", *FLAGS)
    assert code == 0
    assert "alert: anna in hall" in said.out
    assert "1 tracklets, 1 alerts" in said.err
    code, said = run(capsys, "alerts", "list", address, "--json")
    (alert,) = json.loads(said.out)
    assert (alert["name"], alert["camera"], alert["said"]) == ("anna", "hall", None)
    assert run(capsys, "alerts", "reject", address, alert["id"].lstrip("0"))[0] == 0
    assert json.loads(run(capsys, "alerts", "list", address, "--json")[1].out)[0]["said"] is False
    assert json.loads(run(capsys, "alerts", "list", address, "--open", "--json")[1].out) == []
    (person,) = json.loads(run(capsys, "alerts", "watched", address, "--json")[1].out)
    assert (person["name"], person["compared"], person["rejected"]) == ("anna", 1, 1)
    assert "anna" in run(capsys, "alerts", "watched", address)[1].out
    assert run(capsys, "alerts", "unwatch", address, "anna")[0] == 0
    with open_gallery(address) as gallery:
        assert WatchList(gallery).people() == []
        actions = [e.action for e in gallery.audit_log()]
        assert {"live", "live-ended", "watch", "unwatch", "reject"} <= set(actions)
        assert "anna" not in str([e.detail for e in gallery.audit_log()])


def test_alerts_are_listed_for_people(address, capsys):
    with open_gallery(address) as gallery:
        WatchList(gallery).add(["red"], rate=0.01, name="anna [/]")
        (hit,) = Matcher(gallery).match("blue", vector("red", 0.001))
        Alerts(gallery).raise_for(hit, "blue")
    code, said = run(capsys, "alerts", "list", address)
    assert code == 0
    assert "anna [/]" in said.out
    assert "blue" in said.out


def test_a_password_on_the_command_line_is_refused_and_not_repeated(address, capsys):
    for word in (
        "1=rtsp://me:hidden-word@10.0.0.7/live",
        "--camera=1=rtsp://me:hidden-word@10.0.0.7/live?a=b",
    ):
        words = [word] if word.startswith("--") else ["--camera", word]
        code, said = run(capsys, "live", address, *words)
        assert code == 2
        assert "hidden-word" not in said.err
        assert "variable of the environment" in said.err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--camera", "nowhere.mp4"], "write a number or a name"),
        (["--camera", "1=nowhere.mp4"], "there is no video nowhere.mp4"),
        (["--camera", "1=ftp://host/a"], "write one of rtsp"),
        (["--camera", "1=rtsp://me:${NOT_SET_HERE}@host/a"], "NOT_SET_HERE of the environment"),
        (["--camera", "1=rtsp://host/a", "--keep", "30"], "--keep '30': write a number and"),
        (["--camera", "1=rtsp://host/a", "--webhook", "https://host/a"], "INTRACLIP_WEBHOOK_SECRET"),
    ],
)
def test_what_cannot_be_watched_is_refused_and_leaves_nothing(words, error, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("INTRACLIP_WEBHOOK_SECRET", raising=False)
    code, said = run(capsys, "live", tmp_path / "new", *words)
    assert code == 2
    assert error in said.err
    assert not (tmp_path / "new").exists()


def test_unknown_people_alerts_and_tracklets_are_refused(address, capsys):
    for words in (
        ["alerts", "watch", address],
        ["alerts", "watch", address, "--tracklet", "nobody"],
        ["alerts", "watch", address, "--tracklet", "red", "--false-match-rate", "1e-9"],
        ["alerts", "unwatch", address, "nobody"],
        ["alerts", "confirm", address, "17"],
        ["alerts", "frobnicate"],
    ):
        code, said = run(capsys, *words)
        assert code == 2, words
        assert said.err.startswith("error: ")
    with open_gallery(address) as gallery:
        assert gallery.papers("watch") == {}
        assert gallery.audit_log() == []
