"""Training, extraction and evaluation."""
