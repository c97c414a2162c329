"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


# A busy machine is no failure. On a CI server examples are the same each time, so that a change is
# blamed only for what it broke; everywhere else they are new ones.
ON_CI = bool(os.environ.get("CI"))
hypothesis.settings.register_profile("patient", deadline=None, derandomize=ON_CI)
hypothesis.settings.load_profile("patient")

# Small models gain nothing from a second thread, and lose much when another process has the core.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep downloads and OpenVINO graphs of the tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_SAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of recorded outputs and development images beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with recorded outputs is not beside this checkout")
    return SHARED
