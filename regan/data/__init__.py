"""Image sets, model folders, history, and what reads and splits a hospital's images."""
