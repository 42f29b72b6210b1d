"""Import of a provider's library, on first use."""

import importlib
from typing import Any


def library(name: str, uri: str) -> Any:
    """The module of that name.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{uri} needs the library {name}. Install it: pip install 'regan[cloud]'.") from error
