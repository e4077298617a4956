"""Networks: backbones, heads, the embedder that joins them, and checkpoints."""
