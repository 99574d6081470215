import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture
def blobs():
    """Three well separated clusters of float vectors, [300, 6], with labels [300]."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 4, (3, 6))
    y = np.repeat(np.arange(3), 100)
    return (centres[y] + rng.normal(0, 0.3, (300, 6))).astype(np.float32), y


@pytest.fixture
def tiny_config():
    """A small model for vectors of 6."""
    from nvisa_tf import ModelConfig

    return ModelConfig(input_shape=(6,), n_clusters=3, latent_dim=2, encoder_units=(16,), posterior_units=16, decoder_units=(16,))
