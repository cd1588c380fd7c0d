"""Sparse triangular factors of precisions on a grid of pixels."""
