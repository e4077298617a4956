from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from ingest.synthetic import nobody, two_walkers, write_video
from intraclip.errors import DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.video import Video


def test_frames_come_with_numbers_and_times(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.avi", nobody, frames=6, fps=20))
    frames = list(video.frames())
    assert [f.index for f in frames] == list(range(6))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(6) / 20, atol=1e-6)
    assert frames[0].image.shape == (128, 128, 3)
    assert (video.info.fps, video.info.announced_frames) == (20, 6)


@pytest.mark.parametrize(
    ("stride", "max_fps", "expected"),
    [
        (2, 0, [0, 2, 4, 6, 8, 10]),
        (1, 10, [0, 3, 6, 9]),
        (1, 20, [0, 2, 3, 5, 6, 8, 9, 11]),
        (1, 30, list(range(12))),
        (1, 99, list(range(12))),
    ],
)
def test_sampling(tmp_path: Path, stride: int, max_fps: float, expected: list[int]) -> None:
    video = Video(
        write_video(tmp_path / "a.avi", nobody, frames=12, fps=30),
        IngestConfig(frame_stride=stride, max_fps=max_fps),
    )
    frames = list(video.frames())
    assert len(frames) == len(expected)
    assert [f.index for f in frames] == expected
    assert video.frames_read == 12


def test_second_pass_gives_the_same_chosen_frames(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.avi", two_walkers, frames=12))
    first = {f.index: f for f in video.frames()}
    again = list(video.frames(only=frozenset({3, 7})))
    assert [f.index for f in again] == [3, 7]
    for frame in again:
        np.testing.assert_array_equal(frame.image, first[frame.index].image)
    assert video.frames_read == 8


def test_portrait_video_is_turned_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", lambda _n: [(200, 40)], frames=3, width=256, codec="mp4v")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    # The display matrix of a quarter turn clockwise, as phones write it.
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    path.write_bytes(data)
    frame = next(iter(Video(path).frames())).image
    assert frame.shape == (256, 128, 3)
    red = np.argwhere(frame[..., 2].astype(int) - frame[..., 1] > 128)
    np.testing.assert_allclose(red.mean(axis=0), [200, 128 - 40], atol=2)


def vary_frame_rate(path: Path, durations: list[tuple[int, float]]) -> None:
    """Rewrite an MP4 file's table of times: runs of (number of frames, seconds a frame)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"stts") - 4
    size, _, _, _, _, _ = struct.unpack_from(">I4sIIII", data, start)
    scale_at = data.index(b"mdhd") + 4 + 12
    (scale,) = struct.unpack_from(">I", data, scale_at)
    entries = b"".join(struct.pack(">II", count, round(seconds * scale)) for count, seconds in durations)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(durations)) + entries
    data[start : start + size] = table
    # The boxes around it grow; the pictures lie before them, so that no offset changes.
    assert data.index(b"moov") > data.index(b"mdat")
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = data.index(box) - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(table) - size)
    total = round(sum(count * seconds for count, seconds in durations) * scale)
    struct.pack_into(">I", data, scale_at + 4, total)
    # The edit list knows the old duration, and would cut the video there.
    path.write_bytes(data.replace(b"edts", b"free"))


def test_variable_frame_rate_keeps_the_times_of_the_container(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", two_walkers, frames=12, codec="mp4v")
    vary_frame_rate(path, [(4, 0.1), (4, 0.5), (4, 0.2)])
    expected = np.cumsum([0, *[0.1] * 4, *[0.5] * 4, *[0.2] * 3])
    frames = list(Video(path).frames())
    np.testing.assert_allclose([f.time_s for f in frames], expected, atol=2e-3)
    # Sampling goes by time as well: of the slow middle every frame is used, of the quick start some.
    sampled = [f.index for f in Video(path, IngestConfig(max_fps=2.5)).frames()]
    assert set(range(5, 9)) <= set(sampled)
    assert [i for i in sampled if i < 4] == [0, 3]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cam1.mp4"
    path.symlink_to("/proc/self/mem")  # opens, and fails on the first byte, even for root
    if not path.is_file():
        pytest.skip("this system has no /proc")
    with pytest.raises(DataError, match=r"the video .*cam1\.mp4 cannot be read: Input/output error"):
        Video(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no video"):
        Video(tmp_path / "none.mp4")


def test_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not a video at all" * 50)
    with pytest.raises(DataError, match=r"a\.mp4 \(900 bytes\) is no video"):
        Video(path)


def test_mp4_cut_off_before_its_index(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", two_walkers, frames=12, codec="mp4v")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="cut off before its index"):
        Video(path)


def test_video_without_a_decodable_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", two_walkers, frames=12)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(DataError, match=r"no frame of .* can be decoded|is no video"):
        Video(path)


def test_probe_spreads_over_the_video(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.avi", two_walkers, frames=40))
    images = video.probe(4)
    assert len(images) == 4
    assert len(Video(write_video(tmp_path / "b.avi", two_walkers, frames=2)).probe(4)) == 2


def test_reading_goes_on_behind_a_damaged_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", two_walkers, frames=20)
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data)) if data.startswith(b"\xff\xd8\xff", place)]
    assert len(starts) == 20
    for number in (6, 7, 13):
        data[starts[number] : starts[number] + 400] = bytes(400)
    path.write_bytes(data)
    video = Video(path)
    found = list(video.frames())
    whole = np.delete(np.arange(20), [6, 7, 13])
    np.testing.assert_allclose([frame.time_s for frame in found], whole / 10, atol=1e-6)
    assert video.notes == (
        "a.avi is damaged: about 3 frames cannot be decoded after frame 6, and in 1 more places; the rest was read",
    )
    assert video.reached_s == pytest.approx(2.0)
