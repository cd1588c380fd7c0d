"""Slices of NIfTI volumes, such as UK Biobank's."""
