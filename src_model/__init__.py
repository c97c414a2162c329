"""Segment Anything, written anew: the network, prompts, the automatic generator, checkpoints.

The names are those of the published API, so that scripts written for it need one import changed:

>>> from src_model import SamAutomaticMaskGenerator, SamPredictor, sam_model_registry

References
----------
.. [1] Kirillov et al., "Segment Anything", 2023. https://arxiv.org/abs/2304.02643
"""

from .automatic import SamAutomaticMaskGenerator
from .loading import load_model
from .predictor import SamPredictor
from .sam import Sam, build_sam, sam_model_registry
from .variants import VARIANTS, Variant

__all__ = [
    "VARIANTS",
    "Sam",
    "SamAutomaticMaskGenerator",
    "SamPredictor",
    "Variant",
    "build_sam",
    "load_model",
    "sam_model_registry",
]
