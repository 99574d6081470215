import os
import subprocess
import sys

PROGRAM = """if True:
    import hashlib, tensorflow as tf
    from nvisa_tf.layers.augmentation import Augmentation, augment
    from nvisa_tf.layers.random import categories

    def bits(name, values):
        print(name, hashlib.sha256(values.numpy().tobytes()).hexdigest())

    bits("drawn", categories(tf.zeros([640, 10]), 15, tf.constant([1, 2])))  # TensorFlow's own sampler fails this
    images = tf.random.stateless_uniform([256, 28, 28, 3], [1, 2])
    bits("changed", augment(images, tf.constant([3, 4]), Augmentation(scale=0.2, shear=0.2, brightness=0.5), fused=True))
"""


def test_their_number_changes_nothing():
    found = set()
    for threads in ("1", "4"):
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": threads}
        done = subprocess.run([sys.executable, "-P", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
    assert [line.split()[0] for line in found.pop().splitlines()] == ["drawn", "changed"]
