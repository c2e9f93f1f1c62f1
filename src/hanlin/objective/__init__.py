"""What a model is trained to predict: one file each, all under one reduction rule."""
