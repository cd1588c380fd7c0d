"""Anybody's folder of image files."""
