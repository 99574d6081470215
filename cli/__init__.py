"""The command line; installed as the package nvisa_tf.cli."""
