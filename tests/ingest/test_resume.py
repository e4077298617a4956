"""An ingest that is interrupted at any moment and resumed ends like one that was not."""

from __future__ import annotations

import dataclasses
import json
import resource
from pathlib import Path

import numpy as np
import pytest

from ingest.killed import CONFIG, kill_at_random_moments
from ingest.synthetic import red_box_detector, two_walkers, write_video
from intraclip.core.progress import Progress
from intraclip.errors import OutputError
from intraclip.ingest import IngestSummary, ingest
from intraclip.ingest.crops import write_jpeg

CONFIG = CONFIG


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    red_box_detector(folder / "red.onnx")
    for name in ("cam1", "cam2", "cam3"):
        write_video(folder / f"{name}.avi", two_walkers, frames=18)
    return folder


def run(source: Path, out: Path, **options: object) -> IngestSummary:
    options = {"config": CONFIG, "resume": True, **options}
    config = options.pop("config")
    videos = sorted(source.glob("*.avi"))
    return ingest(videos, detector=source / "red.onnx", out=out, settings=config, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "out"
    run(source, out)
    return content(out)


def content(out: Path) -> dict[str, bytes]:
    """Every file, and of the record what does not depend on the clock."""
    found = {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    record = json.loads(found["ingest.json"])
    del record["finished"]
    for video in record["videos"]:
        del video["seconds"], video["frames_taken_over"], video["video"]
    found["ingest.json"] = json.dumps(record).encode()
    return found


def stop_at(event: int) -> Progress:
    """Interrupts at the n-th report of progress."""
    seen = []

    def watch(done: int, _total: int) -> None:
        seen.append(done)
        if len(seen) == event:
            raise KeyboardInterrupt

    return watch


@pytest.mark.parametrize("event", [1, 10, 18, 25, 40, 90])
def test_interruption_anywhere_loses_and_doubles_nothing(
    source: Path, whole: dict[str, bytes], tmp_path: Path, event: int
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, progress=stop_at(event))
    assert not (out / "tracklets.csv").exists()
    assert not (out / "ingest.json").exists()
    run(source, out)
    assert content(out) == whole


@pytest.mark.parametrize("event", [3, 25, 60])
def test_interruption_of_videos_side_by_side(source: Path, tmp_path: Path, event: int) -> None:
    config = dataclasses.replace(CONFIG, quality="balanced")
    run(source, tmp_path / "whole", config=config)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", config=config, progress=stop_at(event))
    assert not (tmp_path / "out" / "ingest.json").exists()
    run(source, tmp_path / "out", config=config)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_job_from_before_there_was_a_choice_of_quality_is_ended_as_it_was_begun(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, progress=stop_at(40))
    file = out / "unfinished" / "job.json"
    settings = json.loads(file.read_text())
    del settings["config"]["quality"]
    file.write_text(json.dumps(settings))
    config = dataclasses.replace(CONFIG, quality="balanced")  # the default now
    run(source, out, config=config)
    expected = json.loads(whole["ingest.json"])
    assert json.loads(content(out)["ingest.json"])["job"] == expected["job"]
    assert {k: v for k, v in content(out).items() if k != "ingest.json"} == {
        k: v for k, v in whole.items() if k != "ingest.json"
    }
    # A finished one is left alone just as well.
    record = json.loads((out / "ingest.json").read_text())
    del record["job"]["config"]["quality"]
    (out / "ingest.json").write_text(json.dumps(record))
    assert "was finished already" in run(source, out, config=config).notes[-1]


def test_detector_is_not_asked_twice_and_finished_videos_are_not_read_again(
    source: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "out", progress=stop_at(18 + 14 + 10))  # frame 10 of the second video
    summary = run(source, tmp_path / "out")
    assert [v.frames_taken_over for v in summary.videos] == [0, 10, 0]
    assert "10 frames searched before an interruption" in str(summary)
    seen: list[int] = []
    again = run(source, tmp_path / "out", progress=lambda done, _total: seen.append(done))
    assert not seen
    assert again.videos == summary.videos
    assert "was finished already" in again.notes[-1]


class Crash(BaseException):
    """Stands for the death of the process."""


@pytest.mark.parametrize("event", range(11))
def test_crash_in_the_middle_of_writing_a_file(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: int
) -> None:
    # Writes of text: of each view tracks, boxes, and its end; tracklets.csv and ingest.json.
    calls = [0]
    replace = Path.replace

    def crash(path: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == event + 1:
            raise Crash
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(Crash):
            run(source, tmp_path / "out")
    assert not (tmp_path / "out" / "ingest.json").exists()
    run(source, tmp_path / "out")
    assert content(tmp_path / "out") == whole


@pytest.mark.parametrize("name", ["tracklets.csv", "ingest.json"])
def test_what_a_killed_process_had_half_written_goes(
    source: Path, whole: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(source, out, progress=stop_at(90))
    (out / f"{name}.1-2.partial").write_text(
        "tracklet,fol"
    )  # no handler runs at SIGKILL that would remove it
    run(source, out)
    assert content(out) == whole


def test_crash_between_the_record_and_the_clearing_up(
    source: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("intraclip.ingest.job.shutil.rmtree", lambda *_a, **_k: None)
        run(source, tmp_path / "out")
    assert (tmp_path / "out" / "unfinished").is_dir()
    run(source, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_sigkill_at_random_moments(source: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    moments = kill_at_random_moments(source, tmp_path / "out", kills=3, seed=3)
    assert any("exit code -9" in moment for moment in moments)
    run(source, tmp_path / "out")
    assert content(tmp_path / "out") == whole, moments


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_sigkill_at_many_random_moments(
    source: Path, whole: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    moments = kill_at_random_moments(source, tmp_path / "out", kills=4, seed=seed)
    run(source, tmp_path / "out")
    assert content(tmp_path / "out") == whole, moments


def test_full_disk_is_one_error_and_what_was_done_is_kept(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    # No file may grow beyond the limit: the contact sheet of the first view does not fit.
    limit = 12_000
    assert len(whole["contact_sheets/cam1.jpg"]) > limit > len(whole["boxes/cam1.csv"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OutputError, match=r"cannot write .*cam1\.jpg: File too large"):
            run(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run(source, tmp_path / "out")
    assert content(tmp_path / "out") == whole


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere/file: No such file"):
        write_jpeg(tmp_path / "nowhere" / "file", np.zeros((8, 8, 3), np.uint8))


def interrupted(source: Path, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, out, progress=stop_at(40))


def test_without_resume_what_is_there_is_not_touched(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(source, out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(OutputError, match=r"interrupted ingest; add --resume"):
        run(source, out, resume=False)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    run(source, out)
    with pytest.raises(OutputError, match=r"finished ingest; give a new folder"):
        run(source, out, resume=False)


@pytest.mark.parametrize("finished", [False, True])
def test_other_settings_are_refused_by_name(source: Path, tmp_path: Path, finished: bool) -> None:
    out = tmp_path / "out"
    run(source, out) if finished else interrupted(source, out)
    config = dataclasses.replace(CONFIG, min_frames=6, tiling="off")
    with pytest.raises(OutputError, match=r'config\.tiling: "auto" -> "off"; config\.min_frames: 5 -> 6'):
        run(source, out, config=config)


def test_other_videos_or_another_detector_are_refused_by_name(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(source, out)
    videos = sorted(source.glob("*.avi"))
    with pytest.raises(OutputError, match=r'videos: \["cam1\.avi", .* -> \["cam1\.avi", "cam2\.avi"\]'):
        ingest(videos[:2], detector=source / "red.onnx", out=out, settings=CONFIG, resume=True)
    other = write_video(tmp_path / "cam3.avi", two_walkers, frames=17)
    with pytest.raises(OutputError, match=r"videos 3\.bytes: \d+ -> \d+; videos 3\.sha256"):
        ingest([*videos[:2], other], detector=source / "red.onnx", out=out, settings=CONFIG, resume=True)
    bytes_ = (source / "red.onnx").read_bytes()
    changed = tmp_path / "other.onnx"
    changed.write_bytes(bytes_.replace(b"test", b"tost"))
    with pytest.raises(OutputError, match=r"detector\.sha256"):
        ingest(videos, detector=changed, out=out, settings=CONFIG, resume=True)
    run(source, out)


def test_two_processes_on_one_folder(source: Path, tmp_path: Path) -> None:
    refused = []

    def another(_done: int, _total: int) -> None:
        if not refused:
            with pytest.raises(OutputError, match="another process is at work"):
                run(source, tmp_path / "out")
            refused.append(True)

    assert run(source, tmp_path / "out", progress=another).tracklets == 6
    assert refused


def test_finished_view_that_lost_a_picture_is_done_again(
    source: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    interrupted(source, out)
    picture = next((out / "tracklets" / "cam1_t0001").iterdir())
    picture.write_bytes(b"")  # as some file systems leave it when the power fails
    run(source, out)
    assert content(out) == whole


def test_damaged_record_of_the_job(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted(source, out)
    (out / "unfinished" / "job.json").write_text("{")
    with pytest.raises(OutputError, match=r"job\.json is damaged"):
        run(source, out)
