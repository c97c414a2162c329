"""Which image of a file that holds several."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from napari_sam.errors import InputError, SeveralParts

__all__ = ["choose_part", "existing", "unlike"]

_LISTED = 12


def choose_part(part: str | None, parts: Sequence[str], path: Path | str, what: str) -> str:
    """Return the part that is meant.

    Parameters
    ----------
    part : str or None
        What was asked for; None will do where there is only one.
    parts : sequence of str
        Those there are.
    path : Path or str
        What messages call the file.
    what : str
        What its parts are, in the plural: ``"scenes"``.

    Raises
    ------
    SeveralParts
        If there are several and none is chosen.
    InputError
        If there is no such part.

    Examples
    --------
    >>> choose_part(None, ["A1"], "plate.czi", "scenes")
    'A1'
    >>> choose_part(None, ["A1", "A2"], "plate.czi", "scenes")
    Traceback (most recent call last):
        ...
    napari_sam.errors.SeveralParts: plate.czi holds 2 scenes: choose one with part='A1' or \
part='A2'.
    """
    if part is None and len(parts) == 1:
        return parts[0]
    if part is not None and part in parts:
        return part
    if not parts:
        raise InputError(f"{path} holds no image.")
    choices = [f"part={name!r}" for name in parts[:_LISTED]]
    more = "" if len(parts) <= _LISTED else f" (there are {len(parts)})"
    several = " or ".join([", ".join(choices[:-1]), choices[-1]]) if choices[1:] else choices[0]
    if part is None:
        raise SeveralParts(
            f"{path} holds {len(parts)} {what}: choose one with {several}{more}.", parts
        )
    raise InputError(f"{path} has no part {part!r}: choose {several}{more}.")


def existing(path: Path | str) -> Path:
    """Return the path of a file that is there.

    Raises
    ------
    InputError
        If it is not.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    return path


def unlike(names: Sequence[str]) -> tuple[str, ...]:
    """Make names different from each other, by their numbers where they are not.

    Examples
    --------
    >>> unlike(["A", "", "A", "B"])
    ('A (0)', '1', 'A (2)', 'B')
    """
    times = Counter(names)
    return tuple(
        (name if times[name] == 1 else f"{name} ({number})") if name else str(number)
        for number, name in enumerate(names)
    )
