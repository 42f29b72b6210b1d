"""Every list of endpoints is that of `ENDPOINTS`."""

from regan.report.formatting import MEASURES
from regan.report.results import _ENDPOINTS
from regan.statistics.comparison import TITLES
from regan.statistics.endpoints import ENDPOINTS


def test_every_endpoint_has_its_title_and_its_explanation_in_the_report():
    assert tuple(TITLES) == tuple(MEASURES) == tuple(_ENDPOINTS) == ENDPOINTS
