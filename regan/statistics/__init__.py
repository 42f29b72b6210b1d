"""How sure we are: tests and intervals for classifiers that answered the same images. Arrays in, small results out."""
