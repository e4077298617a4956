"""From folders to batches: readers, clips, frames, augmentation, sampling, and the shipped benchmark."""
