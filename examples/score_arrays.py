"""Score arrays of any system: CMC, mAP and mINP with intervals."""

import numpy as np

import intraclip as ic

rng = np.random.default_rng(0)
pids = np.repeat(np.arange(1, 51), 4)  # fifty people, four tracklets each
camids = np.tile([1, 2, 3, 4], 50)
is_query = camids == 1
features = rng.normal(size=(51, 32))[pids] + rng.normal(size=(200, 32))

# All of it:
scores = ic.score(features, pids, camids, is_query, protocol="cross-camera", distance="cosine")

print(scores)
print(f"rank-5: {scores.rank(5):.3f}")
