"""What a Scene is made of: sources, axes, levels, georeference, normalisation, fingerprint."""
