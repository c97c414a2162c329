"""The one exception that means "what you gave me cannot be used"."""


class InputError(ValueError):
    """Bad input, told in one sentence: what is wrong, where, and what to do about it.

    The command line prints the sentence and exits with code 2; everything else that is raised is
    a bug or a broken machine, and shows its traceback.
    """
