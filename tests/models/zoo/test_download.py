"""Downloads from a server on this machine that cuts, lies, and starts over."""

from __future__ import annotations

import fcntl
import hashlib
import resource
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from intraclip.errors import CheckpointError, ConfigError, OutputError
from intraclip.models.zoo import Entry, cache, files_of, is_here
from intraclip.models.zoo.cache import check, folder_of, read_pins, take
from intraclip.models.zoo.download import download
from intraclip.models.zoo.entry import File

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """What it does is set by the test; what it was asked is kept."""

    content = CONTENT
    etag = '"one"'
    cut_after = 0
    """Bytes after which a connection is cut; 0: never."""
    ranges = True
    status = 0
    """An error to answer with."""
    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/net.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range") or ""
        server.asked.append(wanted)
        if server.status:
            self.send_error(server.status)
            return
        start = 0
        if server.ranges and wanted and self.headers.get("If-Range") == server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after] if server.cut_after else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        found.asked = []
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTRACLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models" / "net"


def entry(server: Server, *, sha256: str = DIGEST, **more: object) -> Entry:
    return Entry(
        name="net",
        kind="re-ID network",
        what="A net.",
        licence="Apache-2.0",
        trained_on="nothing",
        files=(File(name="net.bin", url=server.url, sha256=sha256, **more),),  # type: ignore[arg-type]
    )


def test_a_file_comes_whole_and_verified_and_is_not_fetched_twice(server: Server, here: Path):
    told: list[tuple[int, int]] = []
    (found,) = download(entry(server), progress=lambda name: lambda done, total: told.append((done, total)))
    assert found.file.read_bytes() == CONTENT
    assert found.known_by == "the digest in the catalogue"
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert sorted(path.name for path in here.iterdir()) == ["net.bin", "pins.json"]
    download(entry(server))
    assert len(server.asked) == 1


def test_a_cut_connection_is_taken_up_where_it_broke_off(server: Server):
    server.cut_after = 200_000
    (found,) = download(entry(server))
    assert found.file.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=200000-", "bytes=400000-"]


def test_a_download_that_was_given_up_goes_on_with_the_next_call(server: Server, here: Path):
    server.cut_after = 200_000
    first = entry(server)

    def stop_after_one(done: int, total: int) -> None:
        if done == 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(first, progress=lambda name: stop_after_one)
    assert (here / "net.bin.partial").stat().st_size == 200_000
    assert not is_here(first)
    server.cut_after = 0
    download(first)
    assert server.asked == ["", "bytes=200000-"]
    assert (here / "net.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_the_beginning(server: Server, here: Path):
    here.mkdir(parents=True)
    (here / "net.bin.partial").write_bytes(b"x" * 1000)
    (here / "net.bin.partial.version").write_text('"older"')
    (found,) = download(entry(server))
    assert server.asked == ["bytes=1000-"]
    assert found.file.read_bytes() == CONTENT


def test_a_server_without_ranges_or_versions_starts_over(server: Server, here: Path):
    here.mkdir(parents=True)
    (here / "net.bin.partial").write_bytes(b"x" * 1000)
    server.etag, server.ranges = "", False
    (found,) = download(entry(server))
    assert server.asked == [""]
    assert found.file.read_bytes() == CONTENT


def test_a_server_that_goes_silent_is_given_up_with_what_to_do(server: Server, here: Path):
    server.cut_after, server.ranges, server.etag = 1000, False, ""
    with pytest.raises(
        CheckpointError, match=r"cannot be reached \(the connection was cut after 1,000 of .*--from"
    ):
        download(entry(server))
    assert len(server.asked) <= 4


def test_a_wrong_digest_leaves_nothing_behind(server: Server, here: Path):
    with pytest.raises(CheckpointError, match=rf"has SHA-256 {DIGEST}, but it should be {'0' * 64}"):
        download(entry(server, sha256="0" * 64))
    assert list(here.iterdir()) == []
    download(entry(server))


def test_a_digest_that_only_begins_is_compared_so_far(server: Server):
    assert download(entry(server, sha256=DIGEST[:8]))[0].known_by == "the digest in its name"


def test_an_unknown_digest_is_pinned_and_says_so(server: Server):
    unknown = entry(server, sha256="")
    (found,) = download(unknown)
    assert found.known_by == ""
    assert read_pins(unknown) == {"net.bin": {"sha256": DIGEST, "from": server.url}}
    assert check(unknown, files_of(unknown))[0].known_by == "the digest it had when it came"
    found.file.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(CheckpointError, match="it was changed; delete it and get it again"):
        check(unknown, files_of(unknown))
    with pytest.raises(CheckpointError, match="it was changed"):
        download(unknown)


def test_a_digest_of_a_copy_that_was_seen_elsewhere_is_named(server: Server):
    (found,) = download(entry(server, sha256="", copies={DIGEST: "a copy in someone/project"}))
    assert found.known_by == "a copy in someone/project"


def test_a_full_disk_is_said_and_the_download_goes_on_from_there(server: Server, here: Path):
    """A limit on the size of files stands in for the full disk: the write fails half-way, as it would there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OutputError, match=r"cannot be written: .*INTRACLIP_CACHE to another folder"):
            download(entry(server))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (here / "net.bin").exists()
    download(entry(server))
    assert (here / "net.bin").read_bytes() == CONTENT


def test_too_little_room_is_said_before_anything_is_fetched(
    server: Server, here: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "intraclip.models.zoo.download.shutil.disk_usage", lambda path: type("Room", (), {"free": 1000})
    )
    with pytest.raises(OutputError, match=r"0 MB free, 1 MB are needed"):
        download(entry(server))
    assert (here / "net.bin.partial").stat().st_size == 0


@pytest.mark.parametrize("status", [404, 403])
def test_a_file_that_is_gone_is_said_at_once(server: Server, status: int):
    server.status = status
    with pytest.raises(CheckpointError, match=rf"the server says {status}"):
        download(entry(server))
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_again(server: Server):
    server.status = 503
    with pytest.raises(CheckpointError, match=r"cannot be reached \(the server says 503"):
        download(entry(server))
    assert len(server.asked) == 3


def test_no_server_at_all_names_the_address_and_the_way_round(server: Server):
    gone = replace(entry(server), files=(File(name="net.bin", url="http://127.0.0.1:9/net.bin"),))
    with pytest.raises(CheckpointError, match=r"http://127.0.0.1:9/net.bin cannot be reached .*--from"):
        download(gone)


def test_two_processes_do_not_write_one_file(server: Server, here: Path):
    here.mkdir(parents=True)
    with (here / "net.bin.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another process is downloading"):
            download(entry(server))


def test_what_has_no_address_is_not_downloaded(server: Server):
    by_hand = replace(entry(server), by_hand="export it yourself")
    with pytest.raises(ConfigError, match=r"cannot be downloaded: export it yourself; then .*--from FILE"):
        download(by_hand)


def test_files_that_came_another_way_are_verified_and_copied(server: Server, tmp_path: Path, here: Path):
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    (found,) = take(entry(server), [tmp_path / "mine.bin"])
    assert found.file == here / "net.bin"
    assert is_here(entry(server))
    assert check(entry(server), files_of(entry(server)))[0].sha256 == DIGEST
    (tmp_path / "other.bin").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="but it should be"):
        take(entry(server), [tmp_path / "other.bin"])
    assert (here / "net.bin").read_bytes() == CONTENT
    with pytest.raises(CheckpointError, match=r"none\.bin is not there"):
        take(entry(server), [tmp_path / "none.bin"])


def test_a_file_of_unknown_digest_that_was_cut_off_or_is_of_another_kind_is_not_taken(
    server: Server, tmp_path: Path, here: Path
):
    pinned = replace(entry(server, sha256=""), megabytes=len(CONTENT) / 1e6)
    (tmp_path / "net.bin").write_bytes(CONTENT[: len(CONTENT) // 2])
    with pytest.raises(CheckpointError, match="it was cut off on its way, or is another network"):
        take(pinned, [tmp_path / "net.bin"])
    (tmp_path / "net.xml").write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match=r"net\.xml is a file of another kind"):
        take(pinned, [tmp_path / "net.xml"])
    assert not here.exists()
    (tmp_path / "net.bin").write_bytes(CONTENT)
    assert take(pinned, [tmp_path / "net.bin"])[0].known_by == ""


def test_what_comes_with_the_package_is_here(server: Server):
    shipped = replace(entry(server), kind="checkpoint", files=(), shipped="recipes/paper.toml")
    assert is_here(shipped)
    assert files_of(shipped)[0].name == "paper.toml"
    with pytest.raises(ConfigError, match="it comes with the package"):
        download(shipped)


def test_the_cache_is_where_the_user_wants_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.delenv("INTRACLIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder_of(entry(server)) == tmp_path / "xdg/intraclip/models/net"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home/.cache/intraclip"
