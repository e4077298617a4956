"""Distances, rankings and scores: pure functions of arrays."""
