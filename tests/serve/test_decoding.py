"""What an upload may cost: sides, pixels, scans, frames, seconds, memory; and whom it holds up."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intraclip.serve.decoding import UndecodableError, read_pictures
from intraclip.serve.errors import Refused
from intraclip.serve.settings import DecodeLimits
from intraclip.serve.uploads import Decoders, Decoding
from live.live_world import until
from serve.hostile_files import png, progressive
from serve.serve_world import frame, jpeg
from serve.test_uploads import video

GENEROUS = {"scanned_pixels": 10**12, "image_pixels": 10**10, "seconds": 600}
"""Limits that let the endless picture in."""


@pytest.fixture(scope="session")
def endless() -> bytes:
    """Takes minutes to decode."""
    return progressive(6300, 1000)


@pytest.fixture
def decoders():
    made = []

    def make(**limits: int) -> Decoders:
        made.append(Decoders(DecodeLimits(**limits), spare=1))
        return made[-1]

    yield make
    for each in made:
        each.close()


def decode(decoders: Decoders, *files: bytes):
    return Decoding(decoders, lambda: files).run()


def body(*files: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    return b"".join(head + f + b"\r\n" for f in files) + b"--x--\r\n"


def begin(port: int, *files: bytes, sent: int | None = None) -> socket.socket:
    """An upload whose answer nobody has read yet; of its body `sent` bytes are sent."""
    content = body(*files)
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(
        f"POST /api/v1/search/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Intraclip: 1\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {len(content)}\r\n\r\n".encode()
        + content[:sent]
    )
    return connection


def upload(port: int, *files: bytes) -> tuple[int, dict[str, object]]:
    with begin(port, *files) as connection:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


def decoding(port: int) -> bool:
    """Whether an upload is being decoded."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return 'intraclip_busy{kind="decode"} 0.0' not in text


# -- limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: png(1, 39_000_000, channels=1), "16,384 a side"),
        (lambda: png(39_000, 1_000, channels=1), "16,384 a side"),
        (lambda: png(7_000, 7_000, channels=1), "40 million"),
        (lambda: progressive(500, 2000), "scans"),
        (lambda: progressive(6300, 20), "scans"),
    ],
    ids=["high", "wide", "pixels", "many scans", "many scans of many pixels"],
)
def test_what_costs_more_than_allowed_is_refused_by_its_header(make, word):
    with pytest.raises(UndecodableError, match=word) as caught:
        read_pictures([make()], DecodeLimits())
    assert caught.value.status == 413


def test_an_ordinary_progressive_jpeg_is_taken():
    data = io.BytesIO()
    Image.fromarray(frame(3, height=2000, width=1000)).save(data, "JPEG", progressive=True, quality=90)
    (found,) = read_pictures([data.getvalue()], DecodeLimits())
    assert np.abs(found[found.shape[0] // 2, found.shape[1] // 8].astype(int) - frame(3)[32, 5]).max() < 12


def test_a_clip_is_bounded_by_frames_times_pixels(tmp_path):
    clip = video(tmp_path, frames=30)
    pixels = 64 * 128 * 30
    assert len(read_pictures([clip], DecodeLimits(clip_pixels=pixels))) == 30
    with pytest.raises(UndecodableError, match="million pixels in all"):
        read_pictures([clip], DecodeLimits(clip_pixels=pixels - 1))
    with pytest.raises(UndecodableError, match="a side"):
        read_pictures([clip], DecodeLimits(image_side=127))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_a_16_bit_picture_shows_what_it_shows(dtype):
    grey = np.linspace(0, np.iinfo(dtype).max, 64 * 32).reshape(64, 32).astype(dtype)
    data = io.BytesIO()
    Image.fromarray(grey).save(data, "PNG")
    (found,) = read_pictures([data.getvalue()], DecodeLimits())
    assert np.abs(found[..., 0].astype(int) - np.linspace(0, 255, 64 * 32).reshape(64, 32)).max() <= 1


def test_decoding_needs_no_name_in_a_folder(tmp_path, monkeypatch):
    if not hasattr(os, "memfd_create"):
        pytest.skip("clips lie in a file without a name here")
    clip = video(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there is no such folder"))
    assert len(read_pictures([clip], DecodeLimits())) == 30


# -- the process -------------------------------------------------------------------------------------------


def test_the_process_that_decodes_is_a_light_one():
    code = (
        "import intraclip.serve.decoding, sys; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'scipy', 'fastapi', 'starlette', 'sqlite3')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_gives_the_same_pictures_as_decoding_here_again_and_again(decoders, tmp_path):
    lent = decoders()
    for files in ([jpeg(frame(1)), png(30, 50)], [video(tmp_path)], [jpeg(frame(2))]):
        expected = read_pictures(files, DecodeLimits())
        found = decode(lent, *files)
        assert [f.shape for f in found] == [e.shape for e in expected]
        assert all(np.array_equal(f, e) for f, e in zip(found, expected, strict=True))


def test_what_takes_too_long_is_ended_and_the_next_one_is_decoded(decoders, endless):
    lent = decoders(**{**GENEROUS, "seconds": 1})
    with pytest.raises(Refused, match="longer than 1 s") as caught:
        decode(lent, endless)
    assert caught.value.status_code == 413
    lent.limits = DecodeLimits()
    assert len(decode(lent, jpeg(frame(1)))) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux")
def test_what_takes_too_much_memory_is_refused_and_the_next_one_is_decoded(decoders):
    lent = decoders(memory_bytes=60 * 2**20)
    with pytest.raises(Refused, match=r"memory|takes too much") as caught:
        decode(lent, png(6_000, 6_000, channels=4))
    assert caught.value.status_code == 413
    assert len(decode(lent, jpeg(frame(1)))) == 1


def test_a_process_that_somebody_ended_is_replaced(decoders):
    lent = decoders()
    decode(lent, jpeg(frame(1)))
    (idle,) = lent._idle
    os.kill(idle._process.pid, signal.SIGKILL)
    idle._process.wait()
    assert len(decode(lent, jpeg(frame(1)))) == 1


def test_after_closing_nothing_is_decoded(decoders):
    lent = decoders()
    lent.prepare()
    lent.close()
    with pytest.raises(Refused, match="about to stop"):
        decode(lent, jpeg(frame(1)))


def test_the_log_is_json_whatever_is_uploaded(service, tmp_path):
    process, port, lines = service()
    clip = video(tmp_path)
    for content in (
        clip[:3000],
        clip[:200] + bytes(3000),
        bytes(4) + b"ftypisom" + bytes(900),
    ):  # FFmpeg complains
        assert upload(port, content)[0] == 400
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"X-Intraclip": "1", "Content-Type": "multipart/form-data; boundary=other"}
    connection.request("POST", "/api/v1/search/upload", body(clip), headers)  # the reader of forms complains
    assert connection.getresponse().status == 400
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    told = [json.loads(line) for line in lines() if line != "closed"]
    assert [line["status"] for line in told if line["event"] == "request"] == [400] * 4


# -- the service -------------------------------------------------------------------------------------------


def test_a_sender_who_leaves_gives_the_slot_back(service, endless):
    _, port, _ = service("--decode", json.dumps(GENEROUS), "--settings", '{"decodings": 1}')
    with begin(port, endless):
        while not decoding(port):
            pass
        waiting = begin(port, endless)
    waiting.close()
    assert upload(port, jpeg(frame(5)))[0] == 200


def test_stopping_cuts_what_is_decoded_what_waits_and_what_still_arrives(service, endless):
    process, port, lines = service("--decode", json.dumps(GENEROUS), "--settings", '{"stop_s": 1}')
    open_ones = [begin(port, endless) for _ in range(4)] + [begin(port, endless, sent=999) for _ in range(2)]
    while not decoding(port):
        pass
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    for connection in open_ones:
        connection.close()
    told = [json.loads(line)["event"] for line in lines() if line != "closed"]
    assert "stopped" in told


def test_a_service_that_is_killed_leaves_no_file_and_no_process(service, endless, tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    process, port, _ = service(
        "--decode", json.dumps(GENEROUS), "--settings", json.dumps({"max_upload_bytes": 2**24})
    )
    mine = f"/proc/{process.pid}/task/{process.pid}/children"
    clip = video(tmp_path) + bytes(2**22)  # larger than what is kept in memory while it arrives
    with begin(port, endless), begin(port, clip, sent=2**21):
        while not decoding(port):
            pass
        until(lambda: not list(folder.iterdir()))  # Python tries once whether the folder can be written to
        started = children(process.pid) if Path(mine).exists() else []
        process.kill()
        process.wait()
    assert not list(folder.iterdir())
    for number in started:  # waits for their end, and for nothing else
        try:
            handle = os.pidfd_open(number)
        except ProcessLookupError:
            continue
        import select

        assert select.select([handle], [], [], 60)[0]
        os.close(handle)


def children(number: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    direct = [
        int(word)
        for task in Path(f"/proc/{number}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]
    return direct + [more for child in direct for more in children(child)]
