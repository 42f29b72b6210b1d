"""Artifacts that steps pass on: image sets, models, their history, and the output folders that contain them."""
