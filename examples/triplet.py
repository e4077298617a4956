"""The batch-hard triplet loss, in anybody's training."""

import torch

import intraclip as ic

torch.manual_seed(0)
features = torch.randn(32, 128, requires_grad=True)  # eight people, four clips each
labels = torch.arange(8).repeat_interleave(4)

# All of it:
found = ic.batch_hard_triplet(features, labels, margin=0.3)
found.loss.backward()

print(f"loss {found.loss:.3f}, {found.active:.0%} of the anchors active")
