"""Retention by itself: what goes, what stays, and what the log says."""

from __future__ import annotations

import time

import pytest

from gallery.gallery_world import MODEL, SIZE, record, vectors
from intraclip.errors import OutputError
from intraclip.gallery import retention
from intraclip.gallery.gallery import create_gallery
from intraclip.gallery.retention import Retention, sweep

DAY = 86_400.0


@pytest.fixture
def gallery(tmp_path):
    with create_gallery(tmp_path / "g", fingerprint=MODEL, dimension=SIZE) as found:
        now = time.time()
        # One a day back from now; the last one by a camera whose clock is ahead.
        seen = [now - DAY * (n + 0.5) for n in range(5)] + [now + 30 * DAY]
        found.add([record(n, started_at=at) for n, at in enumerate(seen)], vectors(6), fingerprint=MODEL)
        yield found


def left(gallery):
    return sorted(r.id for r in gallery.all_records())


def test_what_is_older_goes_but_what_is_spared_and_the_log_has_it_first(gallery, monkeypatch):
    monkeypatch.setattr(retention, "LINE", 1)
    assert sweep(gallery, 2 * DAY, spared=frozenset({"t0003"}), actor="me") == 2
    assert left(gallery) == ["t0000", "t0001", "t0003", "t0005"]
    lines = [(e.action, e.actor, e.origin, e.detail["ids"]) for e in gallery.audit_log()]
    assert lines == [("delete", "me", "retention", ["t0004"]), ("delete", "me", "retention", ["t0002"])]
    assert sweep(gallery, 2 * DAY, spared=frozenset({"t0003"})) == 0
    assert len(gallery.audit_log()) == 2


def test_what_cannot_be_logged_is_not_deleted_and_the_thread_goes_on(gallery, monkeypatch):
    audit, tries = gallery.audit, []

    def full_at_first(*args, **kwargs):
        tries.append(args)
        if len(tries) == 1:
            raise OutputError("the disk is full")
        audit(*args, **kwargs)

    monkeypatch.setattr(gallery, "audit", full_at_first)
    monkeypatch.setattr(retention, "EVERY_S", 0.01)
    keeper = Retention(gallery, 2 * DAY)
    keeper.start()
    end = time.monotonic() + 60
    while keeper.deleted < 3 and time.monotonic() < end:
        keeper._stop.wait(0.01)
    keeper.stop()
    assert left(gallery) == ["t0000", "t0001", "t0005"]
    assert keeper.problem == ""
    assert len(tries) == 2
