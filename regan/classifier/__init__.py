"""Binary classifiers: networks, training, prediction, and the rules that filter synthetic images."""
