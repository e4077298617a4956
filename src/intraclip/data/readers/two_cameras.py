"""What iLIDS-VID and PRID-2011 share: two cameras, in each a folder a person, and half of the people to test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from intraclip.data.readers.common import dataset_name, list_images, raise_problems
from intraclip.types import Split, Tracklet

NUMBER = re.compile(r"(\d+)$")
"""Of the person, at the end of a folder's name."""

_FRAME = re.compile(r"cam(\d+)_person(\d+)_")


def two_camera_split(
    root: Path,
    folder: Path,
    cameras: Mapping[str, int],
    *,
    train: Sequence[str],
    test: Sequence[str],
    layout: str,
    index: int,
    title: str,
    remedy: str,
) -> Split:
    """Read tracklets; queries are of the first camera, the gallery of the second.

    `folder` holds the folders of the `cameras`, and these the folders of people in `train` and `test`. `title` says
    what is read, and `remedy` what to do about an error.

    Raises:
        DataError: folders are missing or empty, or hold frames of somebody else; the first ten are listed.
    """
    problems: list[str] = []

    def tracklet(camera: str, person: str) -> Tracklet | None:
        own = f"{camera}/{person}"
        names, number = list_images(folder / own), NUMBER.search(person)
        if not names or number is None:
            problems.append(f"{own} {'holds no frames' if (folder / own).is_dir() else 'is missing'}")
            return None
        pid, camid = int(number.group()), cameras[camera]
        for name in names:
            said = _FRAME.match(name)
            if said is not None and (int(said[1]), int(said[2])) != (camid, pid):
                problems.append(f"{own} holds {name}, a frame of another camera or person")
        frames = tuple(f"{own}/{name}" for name in names)
        return Tracklet(name=f"{camera}_{person}", root=folder, frames=frames, pid=pid, camid=camid)

    def tracklets(camera: str, people: Sequence[str]) -> list[Tracklet]:
        return [t for person in people if (t := tracklet(camera, person)) is not None]

    first, second = cameras
    trained = [t for camera in cameras for t in tracklets(camera, train)]
    query, gallery = tracklets(first, test), tracklets(second, test)
    raise_problems(title, problems, remedy)
    return Split(
        dataset=dataset_name(root, layout),
        root=root,
        train=tuple(trained),
        query=tuple(query),
        gallery=tuple(gallery),
        index=index,
        protocol=layout,
    )
