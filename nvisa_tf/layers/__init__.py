"""Keras layers, what their outputs mean, priors, schedules, the optimizer, augmentation, random draws."""
