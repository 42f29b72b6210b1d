"""The source of a local run; the preflight of the pipeline on a cluster reads it in the same way."""

from regan.data.listing import SourceListing as Source

__all__ = ["Source"]
