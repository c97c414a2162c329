"""The one exception that means "what you gave me cannot be used", and what others say."""

from collections.abc import Sequence


class InputError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what to do about it.

    The command line prints the sentence and exits with code 2; everything else that is raised is
    a bug or a broken machine, and shows its traceback.
    """


class SeveralParts(InputError):
    """A file holds several images, and none is chosen.

    Parameters
    ----------
    sentence : str
        What the file is, and how to choose.
    parts : sequence of str
        What the images are called.
    """

    def __init__(self, sentence: str, parts: Sequence[str]) -> None:
        super().__init__(sentence)
        self.parts = tuple(parts)


def first_line(error: Exception) -> str:
    r"""Return the first line of what an error of a library says, or its kind if it says nothing.

    Examples
    --------
    >>> first_line(ValueError("no such key\nin line 3")), first_line(KeyError())
    ('no such key', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
