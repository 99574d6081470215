"""NVISA: the model, its gradient step, its stages of training, its objectives."""
