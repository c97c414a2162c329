"""One module for each command of `napari-sam`, imported when the command runs."""
