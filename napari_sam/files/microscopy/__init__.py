"""Files of microscopes and slide scanners, and what other programs for microscopy read."""
