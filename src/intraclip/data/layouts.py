"""The layouts of data folders that are known, by name and by what is in them. No numpy in here: `--help` lists them."""

from __future__ import annotations

from pathlib import Path

from intraclip.core.registry import Registry
from intraclip.data.pack.opened import INDEX, UNFINISHED


class Layouts(Registry):
    """Readers by name; a folder has a layout where one of the layout's files or folders is in it.

    Args:
        places: name -> ``module:reader``, and what a folder of the layout has.
    """

    def __init__(self, key: str, package: str, places: dict[str, tuple[str, ...]]) -> None:
        super().__init__(key, package, {name: place for name, (place, *_) in places.items()})
        self._marks = {name: marks for name, (_, *marks) in places.items()}

    def knows(self, name: str, root: Path) -> bool:
        """Whether a folder is the root of a data set of a layout, and not a folder within one."""
        marks, full = self._marks[name], root.absolute()
        if any(mark.startswith(f"{full.name}/") and (full.parent / mark).exists() for mark in marks):
            return False
        return any((root / mark).exists() for mark in marks)


LAYOUTS = Layouts(
    "data.layout",
    "intraclip.data.readers",
    {
        "mars": (
            "mars:MARS",
            "bbox_train",
            "bbox_test",
            "info/tracks_train_info.mat",
            "info/tracks_test_info.mat",
        ),
        "ilids-vid": ("ilids_vid:ILIDS_VID", "i-LIDS-VID/sequences", "train-test people splits"),
        "prid2011": ("prid2011:PRID2011", "prid_2011/multi_shot", "multi_shot/cam_a"),
        "lsvid": (
            "lsvid:LSVID",
            "list_sequence/list_seq_train.txt",
            "list_sequence/list_seq_test.txt",
            "info/list_sequence",
            "tracklet_train",
            "tracklet_test",
        ),
        "folder": ("folder:FOLDER", "tracklets.csv", "tracklets.parquet", "train", "query", "gallery"),
        "pack": ("pack:PACK", INDEX, UNFINISHED),
    },
)
"""Name -> file and `Reader`, and its marks, in the order in which they are looked for."""
