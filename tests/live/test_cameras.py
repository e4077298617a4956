"""How cameras are read: by the clock, the newest frame, again after they were lost."""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from intraclip.core.streams import check_source, has_password, open_stream, shown, with_variables
from intraclip.errors import ConfigError, DataError
from intraclip.live.cameras import CameraReader, parse_cameras
from intraclip.live.settings import LiveSettings
from live.live_world import ColourDetector, camera, until, walk, write_clip

SERVER = Path(__file__).parent / "rtsp_server.py"


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.avi", walk("red"), frames=20)


def reading(source, news=None, *, max_fps=0.0, **settings):
    settings = LiveSettings(first_wait_s=0.05, **settings)
    return CameraReader(camera(source), settings, news=news or threading.Event(), max_fps=max_fps)


def test_a_file_is_played_by_its_stamps_and_ends(clip):
    news = threading.Event()
    reader, times = reading(clip, news, speed=50.0), []
    reader.start()
    while reader.state != "ended" or reader.waiting:
        news.wait(5)
        news.clear()
        frame = reader.take()
        if frame is not None:
            times.append((frame.index, frame.time_s))
    assert reader.counts.received == 20
    assert len(times) + reader.counts.dropped == 20
    assert times[-1][0] == 19
    assert all(abs(seconds - (index + 1) / 10) < 0.011 for index, seconds in times)


def test_a_file_goes_on_behind_a_damaged_place(clip):
    data = bytearray(clip.read_bytes())
    starts = [place for place in range(len(data)) if data.startswith(b"\xff\xd8\xff", place)]
    for number in (6, 7, 13):
        data[starts[number] : starts[number] + 200] = bytes(200)
    clip.write_bytes(data)
    news = threading.Event()
    assert len(looked_at(reading(clip, news, speed=0.0), news)) == 17


def looked_at(reader, news):
    """Numbers of the frames that somebody who looks at all of them sees."""
    seen = []
    reader.start()
    while reader.state != "ended" or reader.waiting:
        news.wait(5)
        news.clear()
        frame = reader.take()
        if frame is not None:
            seen.append(frame.index)
            reader.looked(frame.arrived, searched=True)
    return seen


def test_a_file_without_a_speed_waits_for_whoever_looks(clip):
    news = threading.Event()
    assert looked_at(reading(clip, news, speed=0.0), news) == list(range(20))


def test_what_nobody_has_time_for_is_dropped_and_counted_and_the_newest_is_seen(clip):
    reader = reading(clip, speed=1000.0)
    reader.start()
    until(lambda: reader.state == "ended")
    frame = reader.take()
    assert (frame.index, reader.counts.received, reader.counts.dropped) == (19, 20, 19)
    assert reader.take() is None


def test_fewer_frames_that_are_asked_for_are_not_called_dropped(clip):
    reader = reading(clip, speed=1000.0, max_fps=5.0)
    reader.start()
    until(lambda: reader.state == "ended")
    assert reader.counts.skipped == 10
    assert reader.counts.dropped == 9


def test_frames_that_nobody_wants_are_carried_and_not_converted(clip):
    news = threading.Event()
    reader = reading(clip, news, speed=0.0)
    reader.wanted = lambda time_s: round(10 * time_s) % 5 == 1
    assert looked_at(reader, news) == [0, 5, 10, 15]
    counts = reader.counts
    assert (counts.received, counts.searched, counts.carried, counts.dropped) == (20, 4, 16, 0)


def test_the_first_frame_after_a_cut_is_wanted_by_everybody(clip):
    news = threading.Event()
    reader, cuts = reading(clip, news, speed=0.0, loop=True), []
    reader.wanted = lambda _: False
    reader.start()
    while len(cuts) < 2:
        news.wait(5)
        news.clear()
        if (frame := reader.take()) is not None:
            cuts.append((frame.index, frame.cut))
    reader.stop()
    reader.join(10)
    assert cuts == [(20, True), (40, True)]


def test_a_file_that_loops_begins_anew_with_a_cut_and_its_time_goes_on(clip):
    news = threading.Event()
    reader, seen = reading(clip, news, speed=20.0, loop=True), []
    reader.start()
    while reader.counts.connections < 3:
        news.wait(5)
        news.clear()
        frame = reader.take()
        if frame is not None:
            seen.append(frame)
    reader.stop()
    reader.join(10)
    assert [f.time_s for f in seen] == sorted({f.time_s for f in seen})
    assert any(f.cut for f in seen)
    assert seen[-1].time_s > 3


def test_a_change_of_size_is_a_cut(tmp_path):
    path = tmp_path / "clip.avi"
    write_clip(path, walk("red"), frames=6)
    reader = reading(path, speed=1000.0, loop=True)
    reader._cut = False
    reader.start()
    until(lambda: reader.counts.connections >= 1 and reader.size == (160, 128))
    write_clip(path.with_name("next.avi"), walk("red"), frames=6, width=320, height=256).replace(path)
    until(lambda: reader.size == (320, 256))
    reader.stop()
    reader.join(10)
    frame = reader.take()
    assert frame.image.shape[:2] == (256, 320)
    assert frame.cut


def test_a_camera_that_is_not_there_is_tried_again_with_the_password_unsaid():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    reader = reading(f"rtsp://me:secret@127.0.0.1:{port}/live?key=1", patience_s=2.0)
    reader.start()
    until(lambda: reader.counts.failures >= 2)
    reader.stop()
    reader.join(10)
    assert f"rtsp://127.0.0.1:{port}/live cannot be opened" in reader.problem
    assert "secret" not in reader.problem
    assert "key" not in reader.problem
    assert reader.counts.connections == 0


def test_cameras_are_parsed_and_told_apart():
    found = parse_cameras(["3=rtsp://host/a=b", "yard=/dev/video0"])
    assert [(c.number, c.name, c.source) for c in found] == [
        (3, "cam3", "rtsp://host/a=b"),
        (1, "yard", "/dev/video0"),
    ]
    assert "host" not in repr(found[0])
    assert parse_cameras(["\u00b2=a.mp4"])[0].number == 1  # a digit, and no number
    for wrong in (["clip.mp4"], ["=clip.mp4"], ["rtsp://me:secret@host/?a=b"], ["1=a.mp4", "1=b.mp4"]):
        with pytest.raises(ConfigError) as error:
            parse_cameras(wrong)
        assert "secret" not in str(error.value)


def test_only_addresses_of_cameras_devices_and_files_are_opened(tmp_path):
    for wrong in ("ftp://host/a", "concat://a|b", "rtsp://", "file:///etc/passwd", "http://[/"):
        with pytest.raises(ConfigError):
            check_source(wrong)
    with pytest.raises(ConfigError, match="number of a device"):
        check_source("device:front")
    with pytest.raises(ConfigError, match="number of a device"):
        check_source("device:\u00b2")
    with pytest.raises(DataError, match="there is no device"):
        check_source("/dev/no-such-video")
    with pytest.raises(DataError, match="there is no video"):
        check_source(str(tmp_path / "clip.mp4"))


def test_passwords_come_from_the_environment_and_are_shown_nowhere():
    address = with_variables("rtsp://me:${CAMERA}@10.0.0.7:554/live?x=1", {"CAMERA": "p@ss/word"})
    assert address == "rtsp://me:p%40ss%2Fword@10.0.0.7:554/live?x=1"
    assert shown(address) == "rtsp://10.0.0.7:554/live"
    assert has_password("--camera=1=" + address)
    assert not has_password("1=rtsp://me:${CAMERA}@10.0.0.7:554/live")
    with pytest.raises(ConfigError, match="CAMERA of the environment"):
        with_variables("rtsp://me:${CAMERA}@10.0.0.7/live", {})


# -- real servers ------------------------------------------------------------------------------------------


def encoded(clip: Path, out: Path, *more: str) -> Path:
    subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-i",
            clip,
            "-pix_fmt",
            "yuv420p",
            "-c:v",
            "libx264",
            "-tune",
            "zerolatency",
            "-g",
            "5",
            *more,
            out,
        ],
        check=True,
    )
    return out


class Served:
    """GStreamer's RTSP server with one stream, at a port that stays."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self.process: subprocess.Popen[str] | None = None

    def start(self, path: Path) -> None:
        self.process = subprocess.Popen(
            ["/usr/bin/python3", SERVER, path, str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def rtsp():
    wanted = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    there = shutil.which("ffmpeg") and Path("/usr/bin/python3").exists()
    if (
        not there
        or subprocess.run(["/usr/bin/python3", "-c", wanted], capture_output=True, check=False).returncode
    ):
        pytest.skip(
            "needs ffmpeg and GStreamer's RTSP server: apt install ffmpeg gir1.2-gst-rtsp-server-1.0 python3-gi"
        )
    server = Served()
    yield server
    server.stop()


def parts(clip: Path, out: Path, *each: tuple[str, ...]) -> Path:
    """One transport stream of the clip several times over, each encoded with more options of FFmpeg."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    made = [
        encoded(clip, out.with_name(f"part{number}.ts"), *more).read_bytes()
        for number, more in enumerate(each)
    ]
    out.write_bytes(b"".join(made))
    return out


def test_stamps_that_jump_ahead_by_hours_and_back_and_come_twice_do_not_stop_the_clock(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", walk("red"), frames=6)
    shifts = ("0", "7200", "1", "1")
    jumping = parts(clip, tmp_path / "jump.ts", *(("-output_ts_offset", shift) for shift in shifts))
    news, seen = threading.Event(), []
    reader = reading(jumping, news, speed=0.0)
    reader.start()
    while reader.state != "ended" or reader.waiting:
        news.wait(5)
        news.clear()
        if (frame := reader.take()) is not None:
            seen.append(frame.time_s)
    # 24 frames of a tenth of a second, whatever their stamps say.
    assert seen == pytest.approx([(number + 1) / 10 for number in range(24)], abs=0.02)


def test_a_stream_whose_size_changes_goes_on_without_a_cut(tmp_path):
    clip = write_clip(tmp_path / "clip.avi", lambda number: [("red", 60)], frames=6)
    changing = parts(clip, tmp_path / "size.ts", (), ("-vf", "scale=320:256"))
    news, seen = threading.Event(), []
    reader = reading(changing, news, speed=0.0)
    reader.start()
    while reader.state != "ended" or reader.waiting:
        news.wait(5)
        news.clear()
        if (frame := reader.take()) is not None:
            seen.append(frame)
    assert len(seen) == 12
    # OpenCV scales all parts to the size it found as it opened: people stay where they are, and nobody is cut off.
    boxes = [ColourDetector()(frame.image).boxes / frame.image.shape[1] for frame in seen]
    assert all(len(found) == 1 for found in boxes)
    assert abs(boxes[-1] - boxes[0]).max() < 0.03
    assert len({frame.image.shape for frame in seen}) == 1
    assert not any(frame.cut for frame in seen)


def test_a_stream_of_an_rtsp_server_is_read_and_again_after_the_server_was_killed(rtsp, clip, tmp_path):
    rtsp.start(encoded(clip, tmp_path / "small.h264"))
    reader = reading(rtsp.url, patience_s=5.0)
    reader.start()
    until(lambda: reader.counts.received > 5)
    assert reader.state == "live"
    assert reader.size == (160, 128)
    reader.take()
    rtsp.stop()
    until(lambda: reader.counts.failures >= 1)
    assert reader.take() is not None or reader.counts.received > 5
    # It comes back with larger pictures.
    rtsp.start(encoded(clip, tmp_path / "large.h264", "-vf", "scale=320:256"))
    until(lambda: reader.size == (320, 256))
    frame = None
    while frame is None:
        frame = reader.take()
    assert frame.image.shape[:2] == (256, 320)
    assert frame.cut
    assert reader.counts.connections == 2
    assert reader.problem == ""
    reader.stop()
    reader.join(10)


def test_hls_over_http_is_read(clip, tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    encoded(clip, tmp_path / "live.m3u8", "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod")
    handler = partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        capture = open_stream(f"http://127.0.0.1:{server.server_port}/live.m3u8")
        count = 0
        while capture.grab():
            count += 1
        capture.release()
        server.shutdown()
    assert count == 20


def test_a_playlist_from_the_network_opens_no_file_of_this_machine(clip, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    secret = (
        encoded(clip, inside / "secret.ts", "-f", "mpegts")
        if shutil.which("ffmpeg")
        else pytest.skip("needs ffmpeg")
    )
    web = tmp_path / "web"
    web.mkdir()
    (web / "live.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(web))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataError, match="cannot be opened"):
            open_stream(f"http://127.0.0.1:{server.server_port}/live.m3u8", patience_s=3.0)
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
