"""From annotated pictures to a trained model and a report about it."""
