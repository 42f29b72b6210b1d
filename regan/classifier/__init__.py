"""Classifiers of two classes: networks, training, prediction, and the rules that filter synthetic images."""
