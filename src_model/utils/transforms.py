"""Names of `segment_anything.utils.transforms`, from where they live here."""

from src_model.preprocessing import ResizeLongestSide

__all__ = ["ResizeLongestSide"]
