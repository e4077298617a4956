from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ingest.synthetic import nobody, red_box_detector, two_walkers, write_video
from intraclip.errors import DataError
from intraclip.ingest import IngestConfig, ingest
from intraclip.ingest.frame_folder import FrameFolder
from intraclip.ingest.sources import find_videos, match_tracks, open_source
from intraclip.ingest.video import Video


def write_frames(folder: Path, video: Path, *, first: int = 1, leave_out: tuple[int, ...] = ()) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(Video(video).frames(), start=first):
        if number not in leave_out:
            cv2.imwrite(str(folder / f"{number:06d}.png"), frame.image)
    return folder


def sequence(folder: Path, video: Path, fps: str = "10") -> Path:
    write_frames(folder / "img1", video)
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate={fps}\nseqLength=18\nimWidth=128\nimHeight=128\n"
    )
    return folder


@pytest.fixture(scope="module")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("v") / "cam1.avi", two_walkers, frames=18)


def test_folder_of_videos_and_sequences(tmp_path: Path, walkers: Path) -> None:
    write_video(tmp_path / "b.avi", nobody, frames=3)
    write_video(tmp_path / "a.AVI", nobody, frames=3)
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / ".hidden.mp4").write_text("no video")
    sequence(tmp_path / "MOT17-02", walkers)
    named = tmp_path / "odd.name"
    assert find_videos([tmp_path, named]) == [
        tmp_path / "MOT17-02",
        tmp_path / "a.AVI",
        tmp_path / "b.avi",
        named,
    ]


def test_folder_of_pictures_is_one_video_named_after_the_sequence(tmp_path: Path, walkers: Path) -> None:
    plain = write_frames(tmp_path / "cam7", walkers)
    inner = sequence(tmp_path / "MOT17-02", walkers) / "img1"
    assert find_videos([plain, inner]) == [plain, inner.parent]


def test_folders_that_hold_no_video(tmp_path: Path, walkers: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no video .* no numbered pictures"):
        find_videos([tmp_path / "empty"])
    both = write_frames(tmp_path / "both", walkers)
    write_video(both / "a.avi", nobody, frames=2)
    with pytest.raises(DataError, match=r"holds numbered pictures and videos \(a\.avi\)"):
        find_videos([both])
    with pytest.raises(DataError, match="no videos given"):
        find_videos([])


def test_sequence_gives_the_frames_and_times_of_the_video(tmp_path: Path, walkers: Path) -> None:
    source = open_source(sequence(tmp_path / "cam4", walkers, fps="10"), IngestConfig())
    expected = list(Video(walkers).frames())
    found = list(source.frames())
    assert [(f.index, f.time_s) for f in found] == [(f.index, pytest.approx(f.time_s)) for f in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
    assert (source.info.fps, source.info.announced_frames, source.count_frames()) == (10, 18, 18)
    assert not source.notes
    assert len(source.probe(4)) == 4


def test_videos_and_sequences_make_the_same_tracklets(tmp_path: Path, walkers: Path) -> None:
    network = red_box_detector(tmp_path / "red.onnx")
    config = IngestConfig(min_height=40, min_frames=5, camera_motion=False)
    frames = sequence(tmp_path / "cam1", walkers)
    for name, video in (("a", walkers), ("b", frames)):
        ingest([video], detector=network, out=tmp_path / name, settings=config)
    one, other = ((tmp_path / n / "tracklets.csv").read_text() for n in ("a", "b"))
    assert one.replace("cam1.avi", "cam1") == other
    assert (tmp_path / "a/boxes/cam1.csv").read_bytes() == (tmp_path / "b/boxes/cam1.csv").read_bytes()


def test_numbers_in_names_are_frame_numbers(tmp_path: Path, walkers: Path) -> None:
    folder = write_frames(tmp_path / "cam1", walkers, leave_out=(4, 5))
    source = FrameFolder(folder, IngestConfig(folder_fps=10))
    frames = list(source.frames())
    assert [f.index for f in frames] == [0, 1, 2, *range(5, 18)]
    assert frames[3].time_s == pytest.approx(0.5)
    assert source.notes == ("cam1: 2 numbers are missing between the first frame and the last",)
    zero = FrameFolder(write_frames(tmp_path / "cam2", walkers, first=0))
    assert [f.index for f in zero.frames()] == list(range(18))
    assert "taken as 25 frames a second, set folder_fps" in zero.notes[0]


def test_picture_that_cannot_be_decoded_is_left_out_with_a_note(tmp_path: Path, walkers: Path) -> None:
    folder = write_frames(tmp_path / "cam1", walkers)
    (folder / "000001.png").write_bytes(b"no picture")
    (folder / "000009.png").write_bytes(b"")
    summary = ingest(
        [folder],
        detector=red_box_detector(tmp_path / "red.onnx"),
        out=tmp_path / "out",
        settings=IngestConfig(
            quality="full", min_height=40, min_frames=5, camera_motion=False, folder_fps=10
        ),
    )
    assert summary.tracklets == 2
    assert summary.videos[0].frames_used == 16
    assert summary.notes == (
        "cam1: 2 frames cannot be decoded and are left out, such as 000001.png: no image that can be identified",
    )


@pytest.mark.parametrize("number", [8, 9])
def test_picture_that_was_passed_over_and_cannot_be_decoded_is_left_out(
    tmp_path: Path, walkers: Path, number: int
) -> None:
    folder = write_frames(tmp_path / "cam1", walkers)
    (folder / f"{number:06d}.png").write_bytes(b"")
    config = IngestConfig(quality="balanced", min_height=40, min_frames=5, camera_motion=False, folder_fps=10)
    summary = ingest(
        [folder], detector=red_box_detector(tmp_path / "red.onnx"), out=tmp_path / "out", settings=config
    )
    assert summary.tracklets >= 1
    assert "cam1: 1 frames cannot be decoded and are left out" in summary.notes[0]
    assert not list((tmp_path / "out").rglob(f"{number - 1:06d}.jpg"))
    assert f"{number - 1:06d}.jpg" not in (tmp_path / "out/boxes/cam1.csv").read_text()


def test_a_folder_of_which_nothing_can_be_decoded_is_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"not one frame can be decoded: cannot read the frame .*1\.png"):
        FrameFolder(tmp_path)


def test_frames_of_a_camera_that_was_held_upright_are_turned(tmp_path: Path) -> None:
    lying = np.zeros((8, 16, 3), np.uint8)
    lying[:, :8] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    Image.fromarray(lying).save(tmp_path / "1.png", exif=exif)
    (frame,) = FrameFolder(tmp_path).frames()
    assert frame.image.shape == (16, 8, 3)
    assert frame.image[:8].reshape(-1, 3).tolist() == [[0, 0, 255]] * 64  # red in BGR, at the top
    assert not frame.image[8:].any()


def test_frames_that_were_packed_on_a_mac(tmp_path: Path, walkers: Path) -> None:
    folder = write_frames(tmp_path / "cam1", walkers)
    frames = len(list(FrameFolder(folder).frames()))
    for name in ("._000001.png", ".DS_Store", "._cover.png"):
        (folder / name).write_bytes(b"Mac OS X")
    (tmp_path / "__MACOSX" / "img1").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "img1" / "._000001.png").write_bytes(b"Mac OS X")
    source = FrameFolder(folder)
    assert len(list(source.frames())) == frames
    assert not source.unreadable
    assert find_videos([folder]) == [folder]
    with pytest.raises(DataError, match="no numbered pictures"):
        find_videos([tmp_path])


def test_a_frame_number_without_end_is_refused(tmp_path: Path, walkers: Path) -> None:
    folder = write_frames(tmp_path / "cam1", walkers)
    (folder / "000001.png").rename(folder / f"{10**60}.png")
    with pytest.raises(DataError, match="has a number beyond"):
        FrameFolder(folder)


def test_folders_of_frames_that_are_wrong(tmp_path: Path, walkers: Path) -> None:
    folder = write_frames(tmp_path / "cam1", walkers)
    cv2.imwrite(str(folder / "000003.png"), np.zeros((64, 128, 3), np.uint8))
    with pytest.raises(DataError, match=r"000003\.png is 128 x 64 pixels, the first frame is 128 x 128"):
        list(FrameFolder(folder).frames())
    (folder / "cover.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cover\.png has no number"):
        FrameFolder(folder)
    (folder / "cover.png").rename(folder / "x3.png")
    with pytest.raises(DataError, match=r"000003\.png and x3\.png have the same number"):
        FrameFolder(folder)
    bad = sequence(tmp_path / "cam2", walkers, fps="fast")
    with pytest.raises(DataError, match=r"frameRate is 'fast'"):
        FrameFolder(bad)
    (bad / "seqinfo.ini").write_text("no sections")
    with pytest.raises(DataError, match=r"is no seqinfo\.ini with a \[Sequence\] section"):
        FrameFolder(bad)
    (bad / "seqinfo.ini").write_text("[Sequence]\nimDir=pictures\n")
    with pytest.raises(DataError, match="names the folder pictures, which is not there"):
        FrameFolder(bad)


def test_tracks_belong_to_videos_by_name_view_or_folder(tmp_path: Path) -> None:
    videos = [tmp_path / "lobby.mp4", tmp_path / "yard.mp4", tmp_path / "MOT17-02"]
    (videos[2] / "gt").mkdir(parents=True)
    tracks = [videos[2] / "gt" / "gt.txt", tmp_path / "t" / "yard.txt", tmp_path / "t" / "cam1.txt"]
    assert match_tracks(tracks, videos, ["cam1", "cam2", "cam3"]) == [tracks[2], tracks[1], tracks[0]]


def test_tracks_without_names_that_agree_are_taken_in_order() -> None:
    videos, views = [Path("a.mp4"), Path("b.mp4")], ["cam1", "cam2"]
    assert match_tracks([Path("x.txt"), Path("y.txt")], videos, views) == [Path("x.txt"), Path("y.txt")]
    with pytest.raises(DataError, match="3 files of tracks for 2 videos"):
        match_tracks([Path("x.txt"), Path("y.txt"), Path("z.txt")], videos, views)


def test_tracks_of_which_only_some_names_agree() -> None:
    videos, views = [Path("a.mp4"), Path("b.mp4")], ["cam1", "cam2"]
    with pytest.raises(
        DataError, match=r"x\.txt belongs to no video by its name; b\.mp4 has no file of tracks"
    ):
        match_tracks([Path("a.txt"), Path("x.txt")], videos, views)
    with pytest.raises(DataError, match=r"a\.mp4 has two files of tracks, a\.txt and cam1\.txt"):
        match_tracks([Path("a.txt"), Path("cam1.txt")], videos, views)
    with pytest.raises(DataError, match=r"a\.txt belongs to both x/a\.mp4 and y/a\.mp4"):
        match_tracks([Path("a.txt")], [Path("x/a.mp4"), Path("y/a.mp4")], views)
