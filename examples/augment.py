"""Augment clips synchronously inside somebody else's data loader: one draw a clip, the same for all of its frames."""

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import intraclip as ic

# All of it, with any transform of images made one of clips:
jitter = ic.lift(v2.ColorJitter(brightness=0.4, contrast=0.4))
sda = ic.SDA(erase_probability=0.3)


class Clips(Dataset[tuple[torch.Tensor, int]]):
    """Somebody's data set."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        clip = torch.full((4, 3, 256, 128), 10 * index, dtype=torch.uint8)  # [T, C, H, W]
        return sda(jitter(clip)), index


if __name__ == "__main__":
    torch.manual_seed(0)
    for clips, labels in DataLoader(Clips(), batch_size=8, num_workers=2):
        print(tuple(clips.shape), clips.dtype, labels.tolist())
        # Every frame of a clip was treated as the first one was.
        assert torch.equal(clips, clips[:, :1].expand_as(clips))
