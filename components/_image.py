"""Names of the two images that the components run in; the tag is the package's version."""

from importlib.metadata import version

CPU_IMAGE = f"regan-cpu:{version('regan')}"
GPU_IMAGE = f"regan-gpu:{version('regan')}"
