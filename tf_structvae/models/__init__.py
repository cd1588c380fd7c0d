"""Keras models that emit a distribution, their objectives, and the networks of the recipes."""
