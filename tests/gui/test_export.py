"""Objects leave the window as files for other programs."""

# ruff: noqa: F401, F811 (fixtures come from another module)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Discs, discs, drive, own_sessions
from qtpy.QtWidgets import QFileDialog

PIXELS = np.random.default_rng(0).integers(0, 255, (80, 100), dtype=np.uint8)


def test_a_person_chooses_a_file_and_its_format(
    make_napari_viewer: Callable[..., Any],
    discs: list[Discs],
    tmp_path: Path,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driven = drive(make_napari_viewer(), PIXELS)
    export, heard = driven.widget.export, []
    driven.sam.said.connect(lambda level, sentence: heard.append((level, sentence)))
    export.click()
    assert heard[-1] == ("warning", "There are no objects to export.")
    driven.click(40, 40)
    driven.widget.accept.click()
    driven.settle()

    def chosen(parent: Any, title: str, start: str, filters: str) -> tuple[str, str]:
        return str(tmp_path / "mine"), next(one for one in filters.split(";;") if "COCO" in one)

    monkeypatch.setattr(QFileDialog, "getSaveFileName", staticmethod(chosen))
    export.click()
    qtbot.waitUntil(export.isEnabled, timeout=20_000)
    assert len(json.loads((tmp_path / "mine.json").read_text())["annotations"]) == 1
    assert heard[-1][1].startswith("1 object written to ")

    for wrong, why in (("mine.xyz", "ends in none of"), ("mine.nii.gz", "")):
        export.export(tmp_path / wrong)
        qtbot.waitUntil(export.isEnabled, timeout=20_000)
        assert heard[-1][0] == "error"
        assert why in heard[-1][1]
        assert not (tmp_path / wrong).exists()
