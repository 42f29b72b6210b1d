"""StyleGAN2 on Keras 3: configuration, networks, training, checkpoints and sampling."""
