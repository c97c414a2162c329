"""The plugin is found by napari, from a wheel and from a checkout, and all it offers is there."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from npe2 import PluginManager, PluginManifest

ROOT = Path(__file__).parents[2]

WIDGETS = (
    "Segment",
    "Embed",
    "Segment everything",
    "Propagate",
    "Review",
    "Fine-tune",
    "Data engine",
    "Models",
)

MANIFEST = PluginManifest.from_file(ROOT / "napari.yaml")


def test_npe2_finds_nothing_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", str(ROOT / "napari.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert MANIFEST.name == "napari-sam-tiled"
    assert MANIFEST.display_name == "Segment Anything"
    assert tuple(one.display_name for one in MANIFEST.contributions.widgets or ()) == WIDGETS


@pytest.mark.parametrize("command", MANIFEST.contributions.commands or (), ids=lambda one: one.id)
def test_what_a_command_names_is_there(command: object) -> None:
    module, name = command.python_name.split(":")  # type: ignore[attr-defined]
    assert callable(getattr(importlib.import_module(module), name))


def test_it_is_found_where_it_is_installed() -> None:
    manager = PluginManager()
    manager.discover()
    found = manager.get_manifest("napari-sam-tiled")
    assert found.contributions == MANIFEST.contributions
    assert found.package_version == importlib.metadata.version("napari-sam-tiled")


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="this is no checkout")
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_it_is_found_from_what_is_built(kind: str, tmp_path: Path) -> None:
    # In a process of its own: hatchling works in the folder of the project.
    code = f"from hatchling.build import build_{kind} as build; print(build({str(tmp_path)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    site = tmp_path / "site"
    with zipfile.ZipFile(tmp_path / built.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(site)
        text = wheel.read("napari_sam/napari.yaml").decode()
    assert text == (ROOT / "napari.yaml").read_text(encoding="utf-8")
    # As an interpreter sees it that has this folder for its packages, .pth files included.
    look = (
        f"import site, sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}];"
        f"site.addsitedir({str(site)!r});"
        f"sys.path.insert(0, {str(site)!r});"
        "from npe2 import PluginManager; manager = PluginManager(); manager.discover();"
        "found = manager.get_manifest('napari-sam-tiled');"
        "import napari_sam; print(napari_sam.__file__);"
        "print(*(one.display_name for one in found.contributions.widgets), sep=', ')"
    )
    seen = subprocess.run(
        [sys.executable, "-I", "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    where, widgets = seen.stdout.splitlines()[-2:]
    assert widgets == ", ".join(WIDGETS)
    assert Path(where).is_relative_to(site if kind == "wheel" else ROOT)
