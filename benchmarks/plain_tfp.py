"""The same model trained by TensorFlow Probability's own VIMCO, with no tricks: what a user would write."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def step(batch: int, n_samples: int, input_dim: int, units: int = 500, latent_dim: int = 10, n_clusters: int = 10) -> Callable[[], float]:
    """One Adam step on a fixed batch of bytes, Gaussian p(x|z) with sigma from the network, eps 1; it gives the bound."""
    import keras
    import tensorflow as tf
    import tensorflow_probability as tfp
    from keras.layers import Dense

    tfd = tfp.distributions
    keras.utils.set_random_seed(0)

    def mlp(inputs: int, outputs: int, hidden: int) -> keras.Sequential:
        return keras.Sequential([keras.Input((inputs,)), *(Dense(units, "leaky_relu") for _ in range(hidden)), Dense(outputs)])

    trunk = keras.Sequential([keras.Input((input_dim,)), Dense(units, "leaky_relu"), Dense(units, "leaky_relu")])
    to_y, to_z, decoder = mlp(units, n_clusters, 0), mlp(units + n_clusters, 2 * latent_dim, 1), mlp(latent_dim, 2 * input_dim, 2)
    loc = keras.Variable(tf.random.normal([n_clusters, latent_dim]), name="loc")
    raw = keras.Variable(tf.fill([n_clusters, latent_dim], math.log(math.expm1(1.0))), name="raw")
    variables = [*(v for net in (trunk, to_y, to_z, decoder) for v in net.trainable_variables), loc, raw]
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)
    data = tf.constant(np.random.default_rng(0).integers(0, 256, (batch, input_dim), np.uint8))

    def normal(parameters: tf.Tensor) -> tfd.Distribution:
        mean, scale = tf.split(parameters, 2, -1)
        return tfd.Independent(tfd.Normal(mean, tf.nn.softplus(scale) + 1.0), 1)

    def rows(network: keras.Model, inputs: tf.Tensor) -> tf.Tensor:
        flat = network(tf.reshape(inputs, [-1, inputs.shape[-1]]))
        return tf.reshape(flat, tf.concat([tf.shape(inputs)[:-1], [flat.shape[-1]]], 0))

    @tf.function
    def train(images: tf.Tensor) -> tf.Tensor:
        x = tf.cast(images, tf.float32) / 255
        with tf.GradientTape() as tape:
            h = trunk(x)

            def z_given_y(y: tf.Tensor) -> tfd.Distribution:
                one_hot = tf.one_hot(y, n_clusters)
                copies = tf.broadcast_to(h, tf.concat([tf.shape(one_hot)[:-1], [units]], 0))
                return normal(tf.ensure_shape(rows(to_z, tf.concat([copies, one_hot], -1)), [*one_hot.shape[:-1], 2 * latent_dim]))

            def log_joint(y: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
                mean, scale = (tf.gather(values, y) for values in (loc.value, tf.nn.softplus(raw.value)))
                log_p_z = tfd.Independent(tfd.Normal(mean, scale), 1).log_prob(z)
                return normal(rows(decoder, z)).log_prob(x) + log_p_z - math.log(n_clusters)

            surrogate = tfd.JointDistributionSequential([tfd.Categorical(logits=to_y(h)), z_given_y])
            loss = tfp.vi.monte_carlo_variational_loss(
                log_joint,
                surrogate,
                sample_size=1,
                importance_sample_size=n_samples,
                gradient_estimator=tfp.vi.GradientEstimators.VIMCO,
                discrepancy_fn=tfp.vi.kl_reverse,
            )
            loss = tf.reduce_mean(loss)
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], variables)
        return -loss

    return lambda: float(train(data))
