"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


# Small models gain nothing from a second thread, and lose much when another process has the core.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of recorded outputs and development images beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with recorded outputs is not beside this checkout")
    return SHARED
