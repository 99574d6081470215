"""`python -m nvisa_tf`, the same as `nvisa-tf`."""

from nvisa_tf.cli.main import main

main()
