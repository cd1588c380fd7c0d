"""Data sets that are drawn on this machine: avatars and brains."""
