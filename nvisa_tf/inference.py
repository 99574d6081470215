"""What a trained model answers: clusters, probabilities, embeddings, reconstructions, samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from nvisa_tf import distributions as dist
from nvisa_tf.data import RowView
from nvisa_tf.draws import categories


class ClusteringMixin:
    """NumPy in, NumPy out, in batches; mixed into `NVISA`.

    Inputs `x` are raw examples [n, *input_shape], uint8 or float, as the model was trained on.
    Every method raises ValueError when the shape is another one or a value is not finite.
    """

    if TYPE_CHECKING:  # the model's own methods and networks

        def __getattr__(self, name: str) -> Any: ...

    def predict_proba(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """q(y|x), float32 [n, n_clusters]."""
        return self._in_batches("_proba", x, batch_size)

    def predict_clusters(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The cluster of each example, argmax_y q(y|x), int64 [n]."""
        return self.predict_proba(x, batch_size).argmax(1)

    def embed(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The mean of q(z|y, x) at each example's own cluster, float32 [n, latent_dim]."""
        return self._in_batches("_embed", x, batch_size)

    def reconstruct(self, x: Any, batch_size: int = 1000) -> np.ndarray:
        """The mean of p(x|z) at the embedding, in the data's own units, float32 [n, *input_shape]."""
        return self._in_batches("_reconstruct", x, batch_size)

    def generate(self, n: int, cluster: int | None = None, seed: int = 0) -> np.ndarray:
        """Examples from the model: y ~ p(y), z ~ p(z|y), and the mean of p(x|z).

        Args:
          n: how many.
          cluster: take y from this cluster only; None: from p(y).
          seed: the same seed gives the same examples.

        Returns:
          float32 [n, *input_shape], in the data's own units.

        Raises:
          ValueError: n < 1, or no such cluster.
        """
        z = self.sample_prior(n, cluster, seed)[1]
        return np.concatenate([self.decode_mean(z[i : i + 1000]).numpy() for i in range(0, n, 1000)])

    def sample_prior(self, n: int, cluster: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """y ~ p(y) and z ~ p(z|y): int32 [n] and float32 [n, latent_dim]; arguments and errors as `generate`."""
        if n < 1:
            raise ValueError(f"n is {n}; it must be at least 1.")
        if cluster is not None and not 0 <= cluster < self.config.n_clusters:
            raise ValueError(f"cluster is {cluster}; the clusters are 0 to {self.config.n_clusters - 1}.")
        seeds = tf.random.split([seed, 0], 2)
        logits, loc, raw_scale = self.prior.parameters()
        y = categories(logits, n, seeds[0]) if cluster is None else tf.fill([n], cluster)
        z = dist.prior_z_given_y(loc, raw_scale, y).sample(seed=seeds[1])
        return y.numpy(), z.numpy()

    def _proba(self, x: tf.Tensor) -> tf.Tensor:
        return self.call(x)

    def _embed(self, x: tf.Tensor) -> tf.Tensor:
        h = self.encoder(self.preprocess(x))
        y = tf.argmax(self.cluster_head(h), -1, output_type=tf.int32)
        return self.q_z(h, y).mean()

    def _reconstruct(self, x: tf.Tensor) -> tf.Tensor:
        return self.decode_mean(self._embed(x))

    def decode_mean(self, z: tf.Tensor) -> tf.Tensor:
        """The mean of p(x|z) in the data's own units, [n, *input_shape]; z: [n, latent_dim]."""
        mean = self.p_x(z).mean()
        raw = (mean - self.input_shift) / self.input_scale
        return tf.reshape(raw, [-1, *self.config.input_shape])

    def _in_batches(self, method: str, x: Any, batch_size: int) -> np.ndarray:
        function = self.traced(method)
        return np.concatenate([function(tf.constant(chunk)).numpy() for chunk in self.batches(x, batch_size)])

    def batches(self, x: Any, batch_size: int) -> Iterator[np.ndarray]:
        """Raw examples [n, *input_shape] piece by piece, float32 [at most batch_size, *input_shape].

        Raises:
          ValueError: another shape, no numbers, none at all, or a value that is not finite.
        """
        x = x if isinstance(x, RowView) else np.asarray(x)
        expected = tuple(self.config.input_shape)
        if x.ndim != len(expected) + 1 or x.shape[1:] != expected:
            raise ValueError(f"The input has the shape {list(x.shape)}; this model takes [n, {', '.join(map(str, expected))}].")
        if x.dtype.kind not in "uif":
            raise ValueError(f"The input has the type {x.dtype}; it must be integers or floats.")
        if not len(x):
            raise ValueError("The input has no examples.")
        for start in range(0, len(x), batch_size):
            with np.errstate(over="ignore"):  # too large for float32 is Inf, which is refused next
                chunk = x[start : start + batch_size].astype(np.float32)
            bad = ~np.isfinite(chunk).reshape(len(chunk), -1).all(1)
            if bad.any():
                raise ValueError(f"The input has values that are NaN or Inf, the first in example {start + int(np.argmax(bad))}.")
            yield chunk

    def traced(self, method: str) -> Any:
        """The `tf.function` of one of the model's methods, traced once and kept."""
        functions = self.__dict__.setdefault("_functions", {})
        if method not in functions:
            functions[method] = tf.function(getattr(self, method), reduce_retracing=True, autograph=False)
        return functions[method]
