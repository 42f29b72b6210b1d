"""The report: one page that says what the synthetic images are worth, written from history alone."""
