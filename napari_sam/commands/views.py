"""Which image of a file, and which plane of it, a command is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["View"]


@dataclass(frozen=True)
class View:
    """What is looked at.

    Parameters
    ----------
    part : str or None
        Of a file that holds several images.
    along : {"z", "y", "x"}
        From which side a volume is looked at.
    t, z : int
        Time and plane.
    window : str or None
        By which of the file's windows it is stretched, such as "lung"; the first by default.
    """

    part: str | None = None
    along: Literal["z", "y", "x"] = "z"
    t: int = 0
    z: int = 0
    window: str | None = None

    def open(self, image: str) -> Scene:
        """Open the image so.

        Raises
        ------
        InputError
            If there is no such image, part, plane or window.
        """
        from napari_sam.scene import open_scene
        from napari_sam.scenes.normalisation import of_window

        scene = open_scene(image, part=self.part, along=self.along, t=self.t, z=self.z)
        if self.window is None:
            return scene
        return replace(scene, normalisation=of_window(scene, self.window))

    @property
    def mark(self) -> str:
        """What the names of its results have behind that of the image; empty by default.

        Examples
        --------
        >>> View().mark, View(z=12).mark, View("2", "y", z=3).mark
        ('', '-z12', '-2-along-y-z3')
        """
        part = (
            ""
            if self.part is None
            else "-" + "".join(letter if letter.isalnum() else "_" for letter in self.part)
        )
        along = "" if self.along == "z" else f"-along-{self.along}"
        time = f"-t{self.t}" if self.t else ""
        plane = f"-z{self.z}" if self.z else ""
        return part + along + time + plane + ("" if self.window is None else f"-{self.window}")
