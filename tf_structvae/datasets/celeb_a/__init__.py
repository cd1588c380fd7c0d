"""CelebA, from the files that its authors hand out."""
