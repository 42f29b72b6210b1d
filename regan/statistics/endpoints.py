"""What classifiers can be compared on; a file of its own, because the comparison itself loads scipy."""

from typing import Literal, get_args

Endpoint = Literal["auc", "accuracy", "sensitivity", "specificity"]
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
