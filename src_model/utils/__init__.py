"""Helpers under the module names that scripts written for `segment_anything` import them from."""
