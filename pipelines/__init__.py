"""Kubeflow pipelines made of the components, and the commands that compile and run them: `python -m pipelines`."""
