"""The version of the package. pyproject.toml and the build of the images read it here, without importing anything."""

__version__ = "0.1.0"
