"""Packed tracklets: a data set written once into a few large files that are mapped into memory.

::

    OUT/intraclip-pack.json        what it is: format version, data set, splits, shards with their checksums
    OUT/tables.safetensors         who is on which tracklet, and where each frame lies
    OUT/shard-00000.safetensors    one tensor a tracklet, named after it, its frames one after the other
    OUT/benchmark.json             copied where the data set has one

A shard is an ordinary safetensors file, so anybody can read one without intraclip: a tensor is uint8 ``[bytes]``
where frames are kept encoded, and uint8 ``[n, H, W, 3]`` where they are raw. `format` opens a pack, `write` makes
one, `verify` checks one.
"""
