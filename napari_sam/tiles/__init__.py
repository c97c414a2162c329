"""Scenes as tiles: where each tile lies, and which pixels it answers for."""
