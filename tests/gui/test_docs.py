"""What docs/plugin.md and the notebooks say is so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pytest
import tifffile
from display import PACKAGES

from napari_sam.widgets.actions import ACTIONS
from napari_sam.widgets.reviewing import STEPS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_docs_tell_all_keys() -> None:
    text = (DOCS / "plugin.md").read_text(encoding="utf-8")
    keys = [key for action in ACTIONS for key in action.keys] + [step.key for step in STEPS]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_the_readme_names_the_packages_that_are_installed() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    told = readme.split("apt-get install ")[1].split("```")[0].replace("\\", " ").split()
    assert told == PACKAGES.split()


def test_the_notebook_runs(
    make_napari_viewer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notebook = json.loads((DOCS / "notebooks" / "from_a_script.ipynb").read_text(encoding="utf-8"))
    monkeypatch.setattr(napari, "Viewer", make_napari_viewer)
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    labels = tifffile.imread(tmp_path / "results" / "labels.tif")
    assert sorted(np.unique(labels)) == [0, names["nucleus"], names["second"]]
    assert [layer.name for layer in names["viewer"].layers] == ["nuclei"]
    assert "prompt" in (tmp_path / "results" / "methods.py").read_text(encoding="utf-8")
