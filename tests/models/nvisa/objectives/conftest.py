"""Toys on which every expectation is a finite sum, in float64."""

import numpy as np
import pytest
import tensorflow as tf

from nvisa_tf.models.nvisa.objectives import LogProbs


class Toy:
    """y in 4 categories, z on a grid of 5: 20 states h = (y, z), all tuples of M of them enumerable."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.q_y = tf.Variable(rng.normal(size=4))
        self.q_z = tf.Variable(rng.normal(size=(4, 5)))
        self.p_yz = tf.Variable(rng.normal(size=(4, 5)))
        self.p_x = tf.Variable(rng.normal(0, 2, size=(4, 5)))  # log p(x|y, z) at the one x
        self.of_q, self.of_p = [self.q_y, self.q_z], [self.p_yz, self.p_x]
        self.variables = self.of_q + self.of_p

    def log_q_y(self):
        return tf.repeat(tf.nn.log_softmax(self.q_y), 5)

    def log_q_z(self):
        return tf.reshape(tf.nn.log_softmax(self.q_z, 1), [-1])

    def log_q(self):
        return self.log_q_y() + self.log_q_z()

    def log_p(self):
        return tf.nn.log_softmax(tf.reshape(self.p_yz, [-1])) + tf.reshape(self.p_x, [-1])

    def log_probs(self, states):
        """Those of the states with the given indices, [M, n]; p(y, z) stands as log_p_z."""
        zero = tf.zeros(states.shape, tf.float64)
        log_p_yz = tf.nn.log_softmax(tf.reshape(self.p_yz, [-1]))
        values = (log_p_yz, tf.reshape(self.p_x, [-1]), self.log_q_y(), self.log_q_z())
        return LogProbs(zero, *(tf.gather(v, states) for v in values))


class NoiseToy:
    """y in 4 categories and z = a_y + b_y e with e from 3 values: reparameterized z, yet enumerable.

    log q(z|y) is that of a normal at z, whatever the noise really is: the identities to be shown
    hold for any function of z.
    """

    noise = np.array([-1.1, 0.2, 1.3])  # the whole sample space of the noise, with these probabilities
    log_p_noise = np.log([0.3, 0.45, 0.25])

    def __init__(self):
        rng = np.random.default_rng(2)
        self.q_y = tf.Variable(rng.normal(size=4))
        self.a, self.b = tf.Variable(rng.normal(size=4)), tf.Variable(0.5 + rng.uniform(size=4))
        self.theta = tf.Variable(rng.normal(size=4))
        self.variables = [self.q_y, self.a, self.b, self.theta]

    def log_q_y(self):
        return tf.nn.log_softmax(self.q_y)

    def at(self, y, e):
        """LogProbs at arrays of y and e of one shape; the gradient flows through z."""
        a, b, theta = (tf.gather(v, y) for v in (self.a, self.b, self.theta))
        z = a + b * e
        log_p_z = -0.5 * (z - theta) ** 2
        log_p_x = tf.sin(3 * z) - 0.2 * z**4 + 0.5 * theta * z
        log_q_z = -0.5 * ((z - a) / b) ** 2 - tf.math.log(b)
        log_p_y = tf.gather(tf.constant(np.log([0.1, 0.2, 0.3, 0.4])), y)
        return LogProbs(log_p_y, log_p_z, log_p_x, tf.gather(self.log_q_y(), y), log_q_z)


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def noise_toy():
    return NoiseToy()
