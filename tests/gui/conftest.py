"""Tests in a real viewer run where one can be opened, and are skipped with a reason elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from display import start_xvfb, stop_xvfb, what_is_missing

# It trains for minutes, for the pictures of a tutorial, and is no test without them.
collect_ignore = [] if "NAPARI_SAM_PICTURES" in os.environ else ["test_tutorial.py"]

_SERVER = pytest.StashKey[subprocess.Popen[bytes] | None]()
_PROBLEM = pytest.StashKey[str | None]()


class _NotHere(pytest.Module):
    """A module of tests that is skipped without being imported."""

    def collect(self) -> list[pytest.Item]:
        reason = self.config.stash[_PROBLEM] or ""
        if os.environ.get("NAPARI_SAM_GUI") == "required":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Look, once and only when there are such tests, whether a viewer can be opened."""
    stash = parent.config.stash
    if _PROBLEM not in stash:
        stash[_SERVER] = start_xvfb()
        stash[_PROBLEM] = what_is_missing()
    if stash[_PROBLEM] is None:
        return None
    return _NotHere.from_parent(parent, path=module_path)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the display that was started."""
    server = config.stash.get(_SERVER, None)
    if server is not None:
        stop_xvfb(server)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep napari's settings and the plugin's data of the tests out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_CONFIG", str(tmp_path_factory.mktemp("napari") / "settings.yaml"))
        patch.setenv("NAPARI_SAM_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `make_napari_viewer` fail a test that leaves windows behind."""
    monkeypatch.setenv("NAPARI_STRICT_QT", "raise")
