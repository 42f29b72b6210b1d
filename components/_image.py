"""Names of the two images that the components run in; the tag is the package's version."""

from regan import __version__

CPU_IMAGE = f"regan-cpu:{__version__}"
GPU_IMAGE = f"regan-gpu:{__version__}"
