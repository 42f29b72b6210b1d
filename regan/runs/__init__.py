"""A run as a whole: its parameters, the checks before it, its costs, and the page on how it ended."""
