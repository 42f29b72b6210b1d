import inspect

import pytest

from regan.common import errors
from regan.common.errors import ReganError

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, ReganError)]


@pytest.mark.parametrize("kind", [one for one in CLASSES if one is not ReganError])
def test_every_error_has_a_base_that_the_command_line_catches(kind):
    assert issubclass(kind, OSError | ValueError | RuntimeError | ImportError)
