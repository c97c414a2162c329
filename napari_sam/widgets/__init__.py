"""The napari plugin: controls, layers and keys. What they do is done by the other rooms."""
