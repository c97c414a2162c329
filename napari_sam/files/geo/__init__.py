"""Files of geographers: rasters, vectors, and the systems that their coordinates are in."""
