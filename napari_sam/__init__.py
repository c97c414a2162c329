"""Segment Anything for images of any kind and size: what a person does with `src_model`.

Coordinates are (row, col) in pixels, with pixel centres at integers.
"""

__version__ = "0.1.0"
