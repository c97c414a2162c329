"""What people outlined, as a versioned folder of crops with a part kept away from training.

    D/dataset.json                     version, sources, crops, notes; written last
    D/train/images, labels, known      what is learned from
    D/validation/...                   to choose the best weights; only if there is enough
    D/hold-out/...                     never trained on, and never used to choose

Pixels of different parts never overlap, at any level, and there is a gap between them. See
docs/finetuning_data.md.
"""

from .fixed import copy_hold_out, held_out_regions
from .health import Health, Suspicion, check_health
from .reading import PARTS, Crop, Dataset
from .sources import Source, from_labels, from_pictures, from_session
from .writing import BuildStopped, build_dataset

__all__ = [
    "PARTS",
    "BuildStopped",
    "Crop",
    "Dataset",
    "Health",
    "Source",
    "Suspicion",
    "build_dataset",
    "check_health",
    "copy_hold_out",
    "from_labels",
    "from_pictures",
    "from_session",
    "held_out_regions",
]
