"""The rows of the paper's table of accuracies (Li et al., IJCNN 2020) whose data sets are known by name here."""

from __future__ import annotations

from nvisa_tf.config.options import near
from nvisa_tf.reproduce.ablation import Row

TABLE1: dict[str, Row] = {
    "mnist": Row("NVISA", "MNIST", "96.55 +- 2.64, best 98.40", {"dataset": "mnist"}),
    "fashion_mnist": Row("NVISA", "Fashion-MNIST", "62.63 +- 2.92, best 66.14", {"dataset": "fashion_mnist"}),
}


def choose(names: tuple[str, ...]) -> dict[str, Row]:
    """The rows of these data sets, in the table's order.

    Raises:
      ValueError: the paper has no row of a data set, or it is not known by name.
    """
    for name in names:
        if name not in TABLE1:
            raise ValueError(f"There is no row for the data set {name!r}{near(name, TABLE1)}.")
    return {name: row for name, row in TABLE1.items() if name in names}
