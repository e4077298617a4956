"""A folder of numbered pictures as a video, such as a sequence of MOTChallenge."""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from intraclip.core.media import read_picture
from intraclip.core.numbers import MAX_ID
from intraclip.core.paths import is_hidden
from intraclip.errors import DataError, FrameError
from intraclip.ingest.config import ALL, IngestConfig
from intraclip.ingest.frame_source import FALLBACK_FPS, FrameSource, Grabbed, Image, VideoInfo

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
SEQUENCE_FILE = "seqinfo.ini"
_NUMBER = re.compile(r"(\d+)(?!.*\d)")


class FrameFolder(FrameSource):
    """A folder of frames whose names end in numbers, or a MOTChallenge sequence: `seqinfo.ini` beside `img1`.

    Names count frames from 1, or from 0 where there is a 0: ``000001.jpg`` is frame 0 of the video (and frame 1 of
    MOTChallenge files). A number that is missing leaves a gap in time. Where neither `folder_fps` nor a `seqinfo.ini`
    tells the frames a second, they are `FALLBACK_FPS`, with a note.

    Raises:
        DataError: there are no numbered pictures, two have the same number, `seqinfo.ini` is wrong, or not one
            picture can be decoded.
    """

    def __init__(self, path: Path, config: IngestConfig = ALL) -> None:
        stated, self.folder = _read_sequence(path)
        self._files = _numbered(self.folder)
        first = _first_whole(self._files.values())
        info = VideoInfo(
            path=path,
            fps=stated or config.folder_fps or FALLBACK_FPS,
            announced_frames=max(self._files) + 1,
            height=first.shape[0],
            width=first.shape[1],
        )
        super().__init__(info, config)
        self.unreadable: dict[str, str] = {}
        self._missing = max(self._files) + 1 - min(self._files) - len(self._files)
        self._guessed = not (stated or config.folder_fps)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `FrameSource`."""
        name, found = self.path.name, []
        if self._guessed:
            found.append(
                f"{name} states no frame rate; it is taken as {FALLBACK_FPS:g} frames a second, set folder_fps"
            )
        if self._missing:
            found.append(f"{name}: {self._missing} numbers are missing between the first frame and the last")
        if self.unreadable:
            found.append(
                f"{name}: {len(self.unreadable)} frames cannot be decoded and are left out, such as "
                "{}: {}".format(*min(self.unreadable.items()))
            )
        return tuple(found)

    def probe(self, count: int) -> list[Image]:
        """Up to `count` frames, evenly spread."""
        files = list(self._files.values())
        places = sorted({int((i + 0.5) * len(files) / count) for i in range(min(count, len(files)))})
        return [image for place in places if (image := self._pixels(files[place])) is not None]

    def fingerprint(self) -> dict[str, object]:
        """Name, number of pictures, and a digest of their names and sizes."""
        digest = hashlib.sha256()
        for file in self._files.values():
            digest.update(f"{file.name}\0{file.stat().st_size}\n".encode())
        return {
            "name": self.path.name,
            "frames": len(self._files),
            "fps": self.info.fps,
            "sha256_of_names_and_sizes": digest.hexdigest(),
        }

    def _grab(self) -> Generator[Grabbed, None, None]:
        for index, file in self._files.items():
            yield Grabbed(index, index / self.info.fps, lambda file=file: self._pixels(file))  # type: ignore[misc]

    def _pixels(self, file: Path) -> Image | None:
        try:
            image = _read(file)
        except FrameError as error:
            self.unreadable[file.name] = error.reason
            return None
        if image.shape[:2] != (self.info.height, self.info.width):
            raise DataError(
                f"{file} is {image.shape[1]} x {image.shape[0]} pixels, the first frame is {self.info.width} x "
                f"{self.info.height}; a folder of frames holds the frames of one video"
            )
        return image


def is_frame_folder(path: Path) -> bool:
    """Whether a folder is a MOTChallenge sequence or holds numbered pictures."""
    if (path / SEQUENCE_FILE).is_file() or (path / "img1").is_dir():
        return True
    return any(_NUMBER.search(f.stem) for f in _pictures(path))


def _pictures(folder: Path) -> Iterable[Path]:
    return (f for f in folder.iterdir() if f.suffix.lower() in FRAME_SUFFIXES and not is_hidden(f.name))


def _read_sequence(path: Path) -> tuple[float, Path]:
    """Frame rate that is stated, 0 if none is, and the folder of the pictures."""
    # MOTChallenge: SEQUENCE/seqinfo.ini, SEQUENCE/img1/*.jpg; either folder may be named.
    file = next((f / SEQUENCE_FILE for f in (path, path.parent) if (f / SEQUENCE_FILE).is_file()), None)
    inner = path / "img1"
    if file is None or (file.parent != path and path.name != _image_folder(file)):
        return 0.0, inner if inner.is_dir() else path
    folder = path / _image_folder(file) if file.parent == path else path
    if not folder.is_dir():
        raise DataError(
            f"{file} names the folder {folder.name}, which is not there; put the frames into {folder}"
        )
    text = _sequence(file).get("framerate", "")
    try:
        fps = float(text or 0)
    except ValueError:
        fps = -1.0
    if not 0 <= fps <= 1000:
        raise DataError(f"{file}: frameRate is {text!r}, must be a number of frames a second in 0..1000")
    return fps, folder


def _image_folder(file: Path) -> str:
    return _sequence(file).get("imdir") or "img1"


def _sequence(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8-sig"))
        return dict(parser["Sequence"])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
        raise DataError(f"{file} is no seqinfo.ini with a [Sequence] section: {error}") from None


def _numbered(folder: Path) -> dict[int, Path]:
    """Picture files by frame number from 0, in order."""
    by_number: dict[int, Path] = {}
    unnumbered = []
    for file in sorted(_pictures(folder)):
        match = _NUMBER.search(file.stem)
        if match is None:
            unnumbered.append(file.name)
            continue
        number = int(match[1])
        if number > MAX_ID:
            raise DataError(f"{folder}: {file.name} has a number beyond {MAX_ID:,}; number frames from 1")
        if number in by_number:
            raise DataError(
                f"{folder}: {by_number[number].name} and {file.name} have the same number; a folder of frames holds "
                "the frames of one video"
            )
        by_number[number] = file
    if not by_number:
        raise DataError(f"{folder} holds no numbered pictures ({', '.join(FRAME_SUFFIXES)})")
    if unnumbered:
        raise DataError(
            f"{folder}: {unnumbered[0]} has no number in its name; name frames 000001.jpg and so on"
        )
    first = 0 if 0 in by_number else 1
    return {number - first: by_number[number] for number in sorted(by_number)}


def _first_whole(files: Iterable[Path]) -> Image:
    """Pixels of the first picture that can be decoded."""
    refused: FrameError | None = None
    for file in files:
        try:
            return _read(file)
        except FrameError as error:
            refused = refused or error
    raise DataError(f"not one frame can be decoded: {refused}")


def _read(file: Path) -> Image:
    return np.ascontiguousarray(read_picture(file)[..., ::-1])
