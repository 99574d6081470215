"""The clustering methods: `base` says what a model and a stage of its training are, `registry` finds one by name."""

from nvisa_tf.config.backend import require_tensorflow_backend

require_tensorflow_backend()
