"""Training: losses and generated scenes."""
