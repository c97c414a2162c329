"""What a person points at: foreground and background points and a box, in (row, col)."""

from dataclasses import dataclass

from napari_sam.errors import InputError


@dataclass(frozen=True)
class Point:
    """A click.

    Attributes
    ----------
    row, col : float
        Position in pixels, pixel centres at integers.
    foreground : bool
        Whether the object is here, or is not.
    """

    row: float
    col: float
    foreground: bool = True


@dataclass(frozen=True)
class Box:
    """A rectangle around an object; corners in any order are put into order.

    Attributes
    ----------
    row0, col0, row1, col1 : float
        The upper left and the lower right corner, in pixels.
    """

    row0: float
    col0: float
    row1: float
    col1: float

    def __post_init__(self) -> None:
        """Order the corners."""
        for low, high in (("row0", "row1"), ("col0", "col1")):
            first, second = getattr(self, low), getattr(self, high)
            object.__setattr__(self, low, min(first, second))
            object.__setattr__(self, high, max(first, second))


@dataclass(frozen=True)
class Prompt:
    """Everything that is known about where one object is.

    Attributes
    ----------
    points : tuple of Point
        Foreground and background points of this object.
    box : Box or None
        A box around it.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None

    @property
    def kind(self) -> str:
        """The prompt in a word: "point", "points", "box" or "box+points".

        Examples
        --------
        >>> Prompt(points=(Point(3, 4),)).kind
        'point'
        """
        if self.box is not None:
            return "box+points" if self.points else "box"
        return "points" if len(self.points) > 1 else "point"


def check_prompt(prompt: Prompt, shape: tuple[int, int]) -> None:
    """Refuse a prompt that cannot mean an object of this picture.

    Parameters
    ----------
    prompt : Prompt
        What was asked.
    shape : tuple of int
        Rows and columns of the picture.

    Raises
    ------
    InputError
        If a point lies outside the picture, the box has no area or only touches the picture from
        outside, or there is neither a box nor a foreground point.
    """
    rows, cols = shape
    size = f"the image has {rows} rows and {cols} columns"
    for point in prompt.points:
        if not (-0.5 <= point.row <= rows - 0.5 and -0.5 <= point.col <= cols - 0.5):
            raise InputError(
                f"The point {point.row:g},{point.col:g} is outside the image: {size}, so rows go "
                f"from 0 to {rows - 1} and columns from 0 to {cols - 1}."
            )
    box = prompt.box
    if box is not None:
        name = f"The box {box.row0:g},{box.col0:g},{box.row1:g},{box.col1:g}"
        if box.row0 == box.row1 or box.col0 == box.col1:
            raise InputError(f"{name} has no area: its two corners must differ in row and column.")
        if box.row0 < -0.5 or box.col0 < -0.5 or box.row1 > rows or box.col1 > cols:
            raise InputError(f"{name} reaches outside the image: {size}.")
    elif not any(point.foreground for point in prompt.points):
        raise InputError(
            "A background point alone does not say where the object is: add a foreground point "
            "or a box."
        )
