"""Other axes for an autoencoder's codes: those that are as independent as can be.

A tree's leaves are dimensions of z, and facets can only be told apart where each has dimensions of its own. An autoencoder cares not for
its axes: any linear change of the codes is undone by the decoder's first layer. So before a tree is fitted the axes are made independent
components (Hyvarinen, IEEE Transactions on Neural Networks 1999). Codes that are sums of independent groups come apart into these.

Shapes: n examples, D latent dimensions.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from nvisa_tf.layers.networks import Decoder
from nvisa_tf.models.pretraining import layers_of_z

LEAST_VARIANCE = 1e-2  # of a principal axis that is brought to a variance of 1, as a share of the mean one; others grow by as much at most
ITERATIONS = 500


@threadpool_limits.wrap(limits=1)  # sums would depend on the number of threads
def independent_axes(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrix [D, D] and shift [D] for which matrix @ (code - shift) has independent components, as far as there are.

    Args:
      codes: [n, D], finite and not all the same.
      seed: of the start.
    """
    codes = np.asarray(codes, np.float64)
    shift = codes.mean(0)
    variances, axes = np.linalg.eigh(np.cov(codes.T).reshape(len(shift), len(shift)))
    whitening = (axes / np.sqrt(np.maximum(variances, LEAST_VARIANCE * variances.mean()))).T
    ica = FastICA(whiten=False, max_iter=ITERATIONS, tol=1e-3, random_state=seed)
    with warnings.catch_warnings():  # between Gaussian components there is nothing to converge to, and any axes will do
        warnings.simplefilter("ignore", ConvergenceWarning)
        ica.fit((codes - shift) @ whitening.T)
    return ica.components_ @ whitening, shift


def change_axes(decoder: Decoder, head: Any, matrix: np.ndarray, shift: np.ndarray) -> None:
    """Make a code head give matrix @ (code - shift), and the decoder's first layer take that, so that nothing changes behind it."""
    matrix, inverse = np.asarray(matrix, np.float64), np.linalg.inv(matrix)
    head.kernel.assign(head.kernel.numpy() @ matrix.T)
    head.bias.assign(matrix @ (head.bias.numpy() - shift))
    for layer in layers_of_z(decoder):
        layer.bias.assign(layer.bias + tf.cast(shift @ layer.kernel.numpy(), tf.float32))
        layer.kernel.assign(inverse.T @ layer.kernel.numpy())
