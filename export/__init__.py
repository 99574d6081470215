"""Export of trained models; installed as the package nvisa_tf.export."""
