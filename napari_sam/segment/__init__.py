"""From prompts, or from none, to objects on a picture."""
