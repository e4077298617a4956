"""The layouts of data folders that are known, by name. No numpy in here: `--help` lists them."""

from __future__ import annotations

from intraclip.core.registry import Registry

LAYOUTS = Registry(
    "data.layout",
    "intraclip.data.readers",
    {
        "mars": "mars:MARS",
        "ilids-vid": "ilids_vid:ILIDS_VID",
        "prid2011": "prid2011:PRID2011",
        "lsvid": "lsvid:LSVID",
        "folder": "folder:FOLDER",
        "pack": "pack:PACK",
    },
)
"""Name -> file and `Reader`, in the order in which they are looked for."""
