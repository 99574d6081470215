"""What linear heads are trained by, so that each answers alike for an example and for one of its nearest neighbours.

No label is looked at. Shapes: B pairs of an example and a neighbour, H heads, K clusters.
"""

from __future__ import annotations

from typing import Any, Protocol

import tensorflow as tf

MOMENTUM = 0.9  # of the moving averages over batches: of few pairs, clusters' shares and joint probabilities are chance
LEAST_PROBABILITY = 1e-8  # of a pair of clusters, in a logarithm


class NeighborObjective(Protocol):
    """A loss of pairs, with moving averages that go on from step to step."""

    def losses(self, log_p: tf.Tensor, log_neighbor: tf.Tensor, teacher: tuple[tf.Tensor, tf.Tensor] | None) -> tuple[tf.Tensor, tf.Tensor]:
        """What each head is to make small, nats, [H], and the moving average after this batch.

        Args:
          log_p, log_neighbor: log p(y|x) of examples and of their neighbours, [B, H, K].
          teacher: the same two by the teacher, where there is one.
        """
        ...

    average: tf.Variable

    @property
    def teacher_momentum(self) -> float | None:
        """How much of itself a teacher keeps a step; None: there is none."""
        ...


class NeighborInformation:
    """Minus the mutual information of the clusters of an example and of its neighbour, as in IIC (Ji et al., ICCV 2019, equation 3).

    IIC has changed images in the neighbour's place. With an exponent e on the clusters' shares it is
    -sum_ab P_ab (log P_ab - e log P_a - e log P_b), where P is the joint distribution, made symmetric; e = 1 is minus the mutual
    information, and what is more asks for clusters of more equal size. In the logarithms P is a moving average, whose gradient is the
    same but for its delay: K^2 probabilities cannot be estimated from one batch where clusters are many.

    Args:
      n_heads, n_clusters: H and K.
      exponent: e, 1 or more.
    """

    teacher_momentum = None

    def __init__(self, n_heads: int, n_clusters: int, exponent: float) -> None:
        self.exponent = exponent
        self.average = tf.Variable(tf.fill([n_heads, n_clusters, n_clusters], 1.0 / n_clusters**2), trainable=False)

    def losses(
        self, log_p: tf.Tensor, log_neighbor: tf.Tensor, teacher: tuple[tf.Tensor, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `NeighborObjective`; the moving average is that of the joint distribution, [H, K, K]."""
        joint = symmetric_joint(tf.exp(log_p), tf.exp(log_neighbor))
        average = MOMENTUM * tf.convert_to_tensor(self.average) + (1 - MOMENTUM) * tf.stop_gradient(joint)
        shares = tf.math.log(tf.reduce_sum(average, 2) + LEAST_PROBABILITY)
        value = tf.math.log(average + LEAST_PROBABILITY) - self.exponent * (shares[:, :, None] + shares[:, None])
        return -tf.reduce_sum(joint * value, [1, 2]), average


class TEMI:
    """TEMI's loss (Adaloglou et al., BMVC 2023, arXiv 2303.17896): weighted pointwise mutual information of student and teacher.

    -w log sum_c (p(c|x) t(c|x'))^beta / t(c), on average over both orders of x and x'. Here p is the student's and t the teacher's answer,
    t(c) a moving average of the teacher's, and w = sum_c t(c|x) t(c|x') on average over heads.

    Args:
      n_heads, n_clusters: H and K.
      beta: the exponent.
      teacher_momentum: how much of itself the teacher keeps a step.
    """

    def __init__(self, n_heads: int, n_clusters: int, beta: float, teacher_momentum: float) -> None:
        self.beta, self.teacher_momentum = beta, teacher_momentum
        self.average = tf.Variable(tf.fill([n_heads, n_clusters], 1.0 / n_clusters), trainable=False)

    def losses(self, log_p: tf.Tensor, log_neighbor: tf.Tensor, teacher: tuple[tf.Tensor, tf.Tensor] | None) -> tuple[tf.Tensor, tf.Tensor]:
        """See `NeighborObjective`; the moving average is that of the teacher's shares, [H, K]."""
        if teacher is None:
            raise ValueError("TEMI's loss needs the teacher's answers.")
        log_t, log_t_neighbor = (tf.stop_gradient(one) for one in teacher)
        batch = 0.5 * tf.reduce_mean(tf.exp(log_t) + tf.exp(log_t_neighbor), 0)
        average = MOMENTUM * tf.convert_to_tensor(self.average) + (1 - MOMENTUM) * batch
        shares = tf.math.log(average + LEAST_PROBABILITY)
        weight = tf.reduce_mean(tf.reduce_sum(tf.exp(log_t + log_t_neighbor), -1), -1)[:, None]
        found = [tf.reduce_logsumexp(self.beta * (s + t) - shares, -1) for s, t in ((log_p, log_t_neighbor), (log_neighbor, log_t))]
        return -tf.reduce_mean(weight * 0.5 * (found[0] + found[1]), 0), average


def symmetric_joint(p: tf.Tensor, of_neighbor: tf.Tensor) -> tf.Tensor:
    """How probable each pair of clusters of an example and a neighbour is, either way round, [H, K, K]; both arguments [B, H, K]."""
    joint = tf.einsum("bhk,bhl->hkl", p, of_neighbor) / tf.cast(tf.shape(p)[0], p.dtype)
    return 0.5 * (joint + tf.transpose(joint, [0, 2, 1]))


def mutual_information(joint: Any) -> tf.Tensor:
    """Of the two variables of each joint distribution, nats, [H]; joint: [H, K, K], symmetric, float."""
    joint = tf.convert_to_tensor(joint)
    shares = tf.reduce_sum(joint, 2)
    entropy = -tf.reduce_sum(tf.math.xlogy(shares, shares), 1)
    return 2 * entropy + tf.reduce_sum(tf.math.xlogy(joint, joint), [1, 2])
