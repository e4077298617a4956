"""What knows nothing of re-identification: pictures today."""
