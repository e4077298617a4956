"""Say how alike two clips are."""

import numpy as np

import intraclip as ic


def person(top: tuple[int, int, int], trousers: tuple[int, int, int], *, seed: int) -> np.ndarray:
    """A clip of somebody in these clothes, drawn from blocks: uint8 [T, H, W, 3]."""
    frame = np.full((128, 64, 3), 120.0)
    frame[8:24, 26:38], frame[24:68, 18:46], frame[68:122, 21:43] = (200, 160, 140), top, trousers
    noise = np.random.default_rng(seed).normal(0, 10, (8, *frame.shape))
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


red, blue, grey = (190, 40, 40), (40, 50, 180), (70, 70, 75)
net = ic.load("base")
e = net.embed([person(red, grey, seed=1), person(red, grey, seed=2), person(blue, red, seed=3)])

# All of it:
same = ic.similarity(e[0], e[1])
other = ic.similarity(e[0], e[2])

print(f"the same clothes: {same:.2f}; others: {other:.2f}")
# What comes with "base" says what its distances mean, on cameras like those it was calibrated on:
probability = ic.similarity(e[0], e[1], calibration=net.calibration).probability
print(f"one person: {probability:.4f}")
assert same > other
