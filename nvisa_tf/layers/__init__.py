"""Keras layers, what their outputs mean, priors, schedules, the optimizer, augmentation, random draws."""

from nvisa_tf.config.backend import require_tensorflow_backend

require_tensorflow_backend()
