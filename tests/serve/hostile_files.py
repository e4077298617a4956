"""Files that cost much more to decode than to send."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def png(width: int, height: int, *, depth: int = 8, channels: int = 3) -> bytes:
    """A black PNG; its rows are compressed a few at a time, so that making it takes little."""
    row = bytes(1 + width * channels * depth // 8)
    compressor = zlib.compressobj(9)
    at_once = max(1, 2**20 // len(row))
    parts = [compressor.compress(row * min(at_once, height - done)) for done in range(0, height, at_once)] + [
        compressor.flush()
    ]
    header = struct.pack(">IIBBBBB", width, height, depth, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(parts)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def progressive(side: int, repeated: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again; each time every pixel is touched."""
    data = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 150)).save(data, "JPEG", progressive=True, quality=50)
    whole = data.getvalue()
    last, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    return whole[:end] + repeated * whole[last:end] + whole[end:]
