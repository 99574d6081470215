import pytest


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
