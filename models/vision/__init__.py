"""Image models from weak labels: four tasks, their training, and what serves them."""
