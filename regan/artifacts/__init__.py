"""What lies between steps: image sets, models, their history, and the output folders that hold them."""
