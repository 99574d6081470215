import logging

import pytest
import tensorflow as tf

from nvisa_tf.layers.graphs import graph_of


@pytest.fixture
def warned():
    """What TensorFlow's logger warns of."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append(record.getMessage())

    handler = Handler()
    logger, before = tf.get_logger(), tf.get_logger().level
    logger.setLevel(logging.WARNING)  # a command in this process may have asked for less
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)
    logger.setLevel(before)


def function_of(number):
    return lambda x: x + number


def test_each_function_counts_for_itself(warned):
    results = [graph_of(function_of(i))(tf.constant(1)) for i in range(10)]
    assert [int(result) for result in results] == list(range(1, 11))
    assert not warned


def test_one_that_is_traced_again_and_again_is_warned_of(warned):
    graph = graph_of(function_of(1))
    for i in range(10):
        graph(tf.zeros([i]))
    assert "triggered tf.function retracing" in warned[0]
