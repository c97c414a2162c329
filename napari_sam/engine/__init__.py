"""The data engine: a project of images that is annotated in rounds, each with a better model."""
