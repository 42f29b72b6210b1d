"""RaGAN: synthetic supervised training sets for medical imaging, and the statistics that say how good they are."""
