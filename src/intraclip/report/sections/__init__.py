"""The sections of the page, one file each: from runs and frames to words, numbers and inlined pictures.

A section is a small dataclass that `page.html.j2` lays out; no section knows about HTML but the plots, which are SVG.
"""
