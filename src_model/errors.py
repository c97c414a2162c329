"""What this package raises beyond the standard exceptions."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be found, downloaded, read, or fitted to the network.

    The message is one sentence for the person at the keyboard: which file, what is wrong with it,
    what to do.
    """
