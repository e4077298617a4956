"""How large numbers of people, cameras and frames may be."""

MAX_ID = 2**53 - 1
"""Beyond it tables of floats, JSON and browsers lose digits."""
