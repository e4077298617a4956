"""Video person re-identification: Intra-Clip Aggregation and Synchronous Data Augmentation."""

__version__ = "0.1.0"
