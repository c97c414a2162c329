"""What several tests ask of messages."""

import re

import pytest


def one_sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    """Check that a message is one sentence, and return it."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert not re.search(r"\.\s+[A-Z]", message)
    return message
