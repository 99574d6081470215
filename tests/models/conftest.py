import numpy as np
import pytest
from scipy import stats
from scipy.special import log_expit


@pytest.fixture(scope="session")
def train_stage():
    """A function that trains a stage alone, from begin to finish, and gives it back."""
    from nvisa_tf.training.batches import step_runner

    def run(stage):
        stage.begin()
        options = {"batch_size": stage.batch_size, "seed": stage.shuffle_seed, "total_steps": stage.total_steps}
        step_runner(stage.train_step, stage.step, stage.x, **options, pipeline="memory", xla=False)(stage.total_steps)
        stage.finish()
        return stage

    return run


@pytest.fixture(scope="session")
def data(make_blobs):
    """Blobs in [0, 1], which a Bernoulli likelihood takes; a file may have data of its own."""
    from nvisa_tf import Dataset

    x, y = make_blobs(60)
    return Dataset("blobs", (x - x.min()) / (x.max() - x.min()), y)


@pytest.fixture(scope="session")
def by_hand():
    """A function of a `VAENetwork`, scaled examples and noise: the mean and sd of q(z|x), z, and log p(x|z), from its layers' outputs."""
    from nvisa_tf.models.vae import LEAST_POSTERIOR_SD

    def softplus(x):
        return np.logaddexp(0, x)

    def compute(model, x, noise):
        h = model.encoder(x)
        mean, raw = (np.asarray(head(h), np.float64) for head in (model.code_head, model.scale_head))
        sd = softplus(raw) + LEAST_POSTERIOR_SD
        z = mean + sd * noise
        loc, raw_scale = (None if part is None else np.asarray(part, np.float64) for part in model.decoder(z.astype(np.float32)))
        if raw_scale is None:
            log_x = (x * log_expit(loc) + (1 - x) * log_expit(-loc)).sum(1)
        else:
            log_x = stats.norm.logpdf(x, loc, softplus(raw_scale) + model.config.least_sd).sum(1)
        return mean, sd, z, log_x

    return compute
