"""Embed clips that a tracker, or somebody's own reader, gives as arrays."""

import numpy as np

import intraclip as ic

# Three people, eight frames each: uint8 [T, H, W, 3] in RGB, of any size.
clips = [np.random.default_rng(i).integers(0, 256, (8, 128 + i, 64, 3), dtype=np.uint8) for i in range(3)]

# All of it:
net = ic.load("base")
e = net.embed(clips)

print(net)
print(e)
print("the vector of the first clip:", e[0].shape, e[0].dtype)
