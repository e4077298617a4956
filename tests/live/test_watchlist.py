"""Who is looked for: the rate that is kept, what alerts teach, and what deletion takes along."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gallery.gallery_world import MODEL, SIZE, record
from intraclip.errors import ConfigError, DataError, OutputError
from intraclip.gallery.gallery import create_gallery, open_gallery
from intraclip.gallery.records import Filters, TrackletRecord
from intraclip.gallery.salvage import save_intact
from intraclip.live.alerts import Alerts
from intraclip.live.watchlist import COMPARED, LEAST_FACTOR, Matcher, WatchList, add_pictures, factor_of
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from live.live_world import PEOPLE, make_gallery, network, picture, vector


@pytest.fixture
def gallery(tmp_path):
    found = make_gallery(tmp_path / "people")
    yield found
    found.close()


def add(gallery, name, values, camera="cam1"):
    gallery.add(
        [TrackletRecord(id=name, camera=camera, camid=1)], values[None], fingerprint=gallery.info.fingerprint
    )


def raised(gallery, name, values):
    """An alert for each hit of a new tracklet."""
    add(gallery, name, values)
    matcher, alerts = Matcher(gallery), []
    for hit in matcher.match(name, values):
        alerts.append(Alerts(gallery).raise_for(hit, name))
        matcher.alerted(hit)
    matcher.save()
    return alerts


def test_who_looks_like_somebody_on_the_list_passes_and_others_do_not(gallery):
    people = WatchList(gallery)
    anna = people.add(["red"], rate=0.001, name="anna")
    matcher = Matcher(gallery)
    (hit,) = matcher.match("new", vector("red", 0.02))
    assert (hit.watched, hit.reference, hit.threshold) == (anna, "red", 0.05)
    assert 0 < hit.distance < 0.05
    assert 0 < hit.probability < 1
    assert matcher.match("new", vector("green")) == []
    assert matcher.match("red", vector("red")) == []  # the person's own


def test_a_person_is_put_on_the_list_once(gallery):
    people = WatchList(gallery)
    people.add(["red", "blue"], rate=0.01, name="anna")
    with pytest.raises(DataError, match=r"already, as number 0001; .*unwatch"):
        people.add(["blue", "red"], rate=0.001, name="anna")
    people.add(["red"], rate=0.01, name="anna")  # seen otherwise
    people.add(["red", "blue"], rate=0.01, name="twin")
    assert len(people.people()) == 3


def test_several_tracklets_share_the_rate(gallery):
    WatchList(gallery).add(list(PEOPLE), rate=0.04)
    matcher = Matcher(gallery)
    matcher.read()
    assert matcher._people[0].threshold == 0.1  # 0.04 / 4
    assert matcher._people[0].chance == pytest.approx(0.04)


def test_alerts_are_kept_with_the_newest_first_and_said_follows_judgements(gallery):
    WatchList(gallery).add(["red"], rate=0.001, name="anna")
    (first,) = raised(gallery, "a", vector("red", 0.01, 1))
    (second,) = raised(gallery, "b", vector("red", 0.01, 2))
    alerts = Alerts(gallery)
    assert [a.id for a in alerts.read()] == [second.id, first.id]
    assert [a.id for a in alerts.read(after=first.id, newest=False)] == [second.id]
    assert (first.name, first.tracklet, first.reference, first.camera, first.said) == (
        "anna",
        "a",
        "red",
        "cam1",
        None,
    )
    alerts.judge(first.id.lstrip("0"), same=True, by="me")
    gallery.reject("b", "red")  # on the page of a search, the other way round
    assert [a.said for a in alerts.read()] == [False, True]
    for nobody in ("123", "0", "-1", "x", "²", "9" * 20):
        with pytest.raises(DataError, match="no alert"):
            alerts.get(nobody)


def test_any_number_of_alerts_is_gone_through_in_parts(gallery, monkeypatch):
    monkeypatch.setattr("intraclip.live.alerts.AT_ONCE", 2)
    most = []
    real = gallery.papers
    monkeypatch.setattr(gallery, "papers", lambda *a, **k: most.append(found := real(*a, **k)) or found)
    anna = WatchList(gallery).add(["red"], rate=0.001)
    ids = [raised(gallery, f"t{number}", vector("red"))[0].id for number in range(5)]
    alerts = Alerts(gallery)
    most.clear()
    assert [a.id for a in alerts.each()] == ids
    assert [a.id for a in alerts.each(after=ids[1])] == ids[2:]
    assert alerts.get(ids[2].lstrip("0")).tracklet == "t2"
    alerts.judge(ids[4], same=False)
    learned = WatchList(gallery).learned()[anna.id]
    assert (learned.alerts, learned.confirmed, learned.rejected) == (5, 0, 1)
    assert max(map(len, most)) == 2


def test_an_alert_comes_after_earlier_ones_though_the_clock_was_set_back(gallery, monkeypatch):
    WatchList(gallery).add(["red"], rate=0.001)
    (first,) = raised(gallery, "a", vector("red"))
    monkeypatch.setattr("intraclip.live.alerts.time.time", lambda: 1000.0)
    (second,) = raised(gallery, "b", vector("red"))
    assert second.id > first.id
    assert second.at == 1000.0


def test_a_rejected_stranger_alerts_no_more_and_a_confirmed_tracklet_counts_as_the_person(gallery):
    WatchList(gallery).add(["red"], rate=0.01)
    stranger = vector("red") + np.array([0.0, 0.25, 0.0], np.float32)
    (alert,) = raised(gallery, "stranger", stranger)
    assert raised(gallery, "again", stranger * 1.01)
    Alerts(gallery).judge(alert.id, same=False)
    assert raised(gallery, "once more", stranger * 1.02) == []
    (alert,) = raised(gallery, "other light", vector("red") + np.array([0.0, 0.0, 0.12], np.float32))
    matcher = Matcher(gallery)
    matcher.read()
    before = set(matcher._people[0].own)
    Alerts(gallery).judge(alert.id, same=True)
    matcher.read()
    assert set(matcher._people[0].own) - before == {"other light"}


def test_false_alerts_make_the_threshold_stricter_and_true_ones_do_not():
    assert factor_of(expected=1, alerts=20, confirmed=0, rejected=0) == 1.0
    assert factor_of(expected=1, alerts=20, confirmed=20, rejected=0) < 1
    assert factor_of(expected=1, alerts=20, confirmed=0, rejected=20) == pytest.approx(24 / 5)
    # Judging a half of them says the same as judging all.
    assert factor_of(expected=1, alerts=20, confirmed=0, rejected=10) == pytest.approx(24 / 5)
    assert factor_of(expected=1e9, alerts=1, confirmed=1, rejected=0) == LEAST_FACTOR


def test_the_learned_factor_divides_the_rate(gallery):
    people = WatchList(gallery)
    anna = people.add(["red"], rate=0.01)
    matcher = Matcher(gallery)
    for number in range(100):
        matcher.match(f"n{number}", vector("green"))
    assert matcher._people[0].threshold == 0.1
    matcher.save()
    matcher.save()  # nothing is counted twice
    for number in range(10):
        (alert,) = raised(gallery, f"s{number}", vector("red") * np.float32(1 + 0.01 * number))
    for alert in Alerts(gallery).read():
        Alerts(gallery).judge(alert.id, same=False)
    learned = people.learned()[anna.id]
    assert (learned.compared, learned.alerts, learned.rejected) == (110, 10, 10)
    assert learned.expected == pytest.approx(1.1)
    assert learned.factor == pytest.approx(14 / 5.1)
    matcher.read()
    assert matcher._people[0].threshold == 0.05  # of 0.01 / 2.8, at the next smaller rate of the table


def test_alerts_that_are_deleted_by_age_stay_counted_as_what_was_compared_does(gallery):
    people = WatchList(gallery)
    anna = people.add(["red"], rate=0.01)
    for number in range(10):
        (alert,) = raised(gallery, f"s{number}", vector("red") * np.float32(1 + 0.01 * number))
        if number >= 8:
            Alerts(gallery).judge(alert.id, same=False)
    before = people.learned()[anna.id]
    assert (before.compared, before.alerts, before.rejected) == (10, 10, 2)
    gallery.delete(Filters(ids=frozenset(f"s{number}" for number in range(9))))
    after = people.learned()[anna.id]
    assert (after.compared, after.alerts, after.rejected) == (10, 10, 1)
    assert after.factor == before.factor > 3  # as if nobody were deleted


def test_alerts_that_an_earlier_version_did_not_count_are_counted(gallery):
    people = WatchList(gallery)
    anna = people.add(["red"], rate=0.01)
    for number in range(3):
        raised(gallery, f"s{number}", vector("red"))
    gallery.put_paper(COMPARED, anna.id, {"compared": 50, "expected": 0.5}, ["red"], needs_all=False)
    assert people.learned()[anna.id].alerts == 3
    raised(gallery, "s3", vector("red"))
    learned = people.learned()[anna.id]
    assert (learned.compared, learned.alerts) == (51, 4)


def test_what_cannot_be_kept_now_is_kept_later(gallery, monkeypatch):
    anna = WatchList(gallery).add(["red"], rate=0.01)
    matcher = Matcher(gallery)
    matcher.match("n", vector("green"))

    def full(*_: object, **__: object) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(gallery, "put_paper", full)
        with pytest.raises(OutputError):
            matcher.save()
    matcher.save()
    assert WatchList(gallery).learned()[anna.id].compared == 1


def test_at_a_rate_of_strangers_about_as_many_pass(tmp_path):
    """Calibrated on some people, measured on others of the same kind."""
    rng = np.random.default_rng(3)

    def tracklets(people):
        centres = rng.standard_normal((people, SIZE))
        return (centres[:, None] + 0.2 * rng.standard_normal((people, 2, SIZE))).astype(np.float32)

    known = tracklets(400)
    labelled = Embeddings(
        features=known.reshape(-1, SIZE),
        pids=np.repeat(np.arange(1, 401), 2),
        camids=np.tile([1, 2], 400),
        is_query=np.ones(800, np.bool_),
    )
    gallery = create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE, metric="cosine")
    gallery.set_calibration(fit_calibration(labelled, metric="cosine", fingerprint=MODEL))
    wanted = tracklets(20)
    gallery.add([record(i) for i in range(20)], np.ascontiguousarray(wanted[:, 0]), fingerprint=MODEL)
    people = WatchList(gallery)
    for number in range(20):
        people.add([record(number).id], rate=0.001)
    matcher, strangers = Matcher(gallery, every_s=1e9), tracklets(2000)[:, 1]
    passed = sum(len(matcher.match(f"s{i}", v)) for i, v in enumerate(strangers))
    assert 0.0005 < passed / (20 * 2000) < 0.002
    found = sum(
        any(h.reference == record(i).id for h in matcher.match(f"q{i}", wanted[i, 1])) for i in range(20)
    )
    assert found >= 15
    gallery.close()


def test_pictures_become_a_tracklet_that_is_looked_for(gallery):
    crop = picture([("blue", 80)])[32:96, 68:92, ::-1]
    name = add_pictures(gallery, network(), [crop, crop])
    WatchList(gallery).add([name], rate=0.001)
    assert gallery.record(name).camera == "watch-list"
    assert gallery.strip(name)
    assert len(Matcher(gallery).match("new", vector("blue", 0.01))) == 1


def test_what_cannot_be_looked_for_is_refused_and_leaves_nothing(gallery, tmp_path):
    people = WatchList(gallery)
    for tracklets, rate, error in (
        ([], 0.01, DataError),
        (["nobody"], 0.01, DataError),
        (["red"], 1e-9, DataError),
    ):
        with pytest.raises(error):
            people.add(tracklets, rate=rate)
    with pytest.raises(DataError):
        people.add(["red"], rate=0.01, name="a\nb")
    assert people.people() == []
    bare = make_gallery(tmp_path / "bare", calibrated=False)
    with pytest.raises(ConfigError, match="calibration"):
        WatchList(bare).add(["red"], rate=0.01)
    assert Matcher(bare).match("new", vector("red")) == []
    bare.close()


def test_people_are_found_by_number_and_name_and_taken_off(gallery):
    people = WatchList(gallery)
    people.add(["red"], rate=0.01, name="anna")
    ben = people.add(["blue"], rate=0.01, name="ben")
    assert people.person("ben") == people.person(ben.id) == ben
    people.remove("anna")
    assert people.people() == [ben]
    with pytest.raises(DataError, match="nobody"):
        people.person("anna")


# -- deletion ----------------------------------------------------------------------------------------------


def test_whoever_adds_at_the_same_time_gets_a_number_of_their_own(gallery, tmp_path):
    def add_some(which, one):
        return [WatchList(one).add(["red"], rate=0.01, name=f"{which}-{n}").id for n in range(4)]

    with open_gallery(tmp_path / "people") as other, ThreadPoolExecutor(4) as pool:
        found = [key for keys in pool.map(add_some, range(4), [gallery, other] * 2) for key in keys]
    assert sorted(found) == [f"{number:04d}" for number in range(1, 17)]
    assert [person.id for person in WatchList(gallery).people()] == sorted(found)


def test_a_number_that_somebody_took_meanwhile_is_left_to_them(gallery, monkeypatch):
    keys = iter(["0007", "0007", "0008"])
    monkeypatch.setattr(WatchList, "_next_key", lambda self: next(keys))
    people = WatchList(gallery)
    assert people.add(["red"], rate=0.01, name="anna").id == "0007"
    assert people.add(["blue"], rate=0.01, name="ben").id == "0008"
    assert [person.name for person in people.people()] == ["anna", "ben"]


def test_alerts_about_somebody_who_was_taken_off_count_for_nobody_else(gallery):
    people = WatchList(gallery)
    anna = people.add(["red"], rate=0.01)
    assert raised(gallery, "seen", vector("red", 0.001))
    people.remove(anna.id)
    ben = people.add(["blue"], rate=0.01)
    assert ben.id != anna.id
    assert people.learned()[ben.id].alerts == 0


def test_a_deleted_tracklet_lives_on_in_no_alert_and_on_no_list(gallery, tmp_path):
    people = WatchList(gallery)
    people.add(["red"], rate=0.01, name="anna-of-the-list")
    people.add(["blue", "yellow"], rate=0.01, name="ben")
    for name in ("red", "blue"):
        assert raised(gallery, f"seen {name}", vector(name, 0.001))
    gallery.delete(Filters(ids=frozenset({"red"})))
    assert [p.name for p in people.people()] == ["ben"]
    assert [a.tracklet for a in Alerts(gallery).read()] == ["seen blue"]
    gallery.delete(Filters(ids=frozenset({"blue", "seen blue"})))
    assert people.people()[0].tracklets == ("yellow",)
    assert Alerts(gallery).read() == []
    assert gallery.check() == []
    gallery.close()
    stored = b"".join(f.read_bytes() for f in (tmp_path / "people").iterdir())
    assert b"anna-of-the-list" not in stored


def test_no_alert_is_kept_of_a_tracklet_that_is_deleted_just_now(gallery, monkeypatch):
    WatchList(gallery).add(["red"], rate=0.01)
    add(gallery, "new", vector("red"))
    (hit,) = Matcher(gallery).match("new", vector("red"))
    monkeypatch.setattr(gallery, "_require", lambda ids: gallery.delete(Filters(ids=frozenset({"new"}))))
    with pytest.raises(DataError, match="new"):
        Alerts(gallery).raise_for(hit, "new")
    assert Alerts(gallery).read() == []


def test_a_damaged_gallery_saves_the_list_and_alerts_of_what_is_left(gallery, tmp_path):
    WatchList(gallery).add(["red"], rate=0.01, name="anna")
    raised(gallery, "a", vector("red"))
    gallery.close()
    save_intact(tmp_path / "people", tmp_path / "new")
    with open_gallery(tmp_path / "new") as new:
        assert [p.name for p in WatchList(new).people()] == ["anna"]
        assert [a.tracklet for a in Alerts(new).read()] == ["a"]
