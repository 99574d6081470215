"""The number of clusters that is found in data whose number is known, by nvisa-tf and by other criteria without labels.

    python benchmarks/number_of_clusters.py --datasets blobs wine digits mnist cifar10.npz --features cifar10.npz --out number.csv

The others look at the same principal components of one part of the data, at 2 to 20 clusters: k-means by its silhouette (Rousseeuw, 1987)
and by the index of Calinski and Harabasz (1974), Gaussian mixtures of full covariance by BIC, and the communities of largest modularity
that nvisa-tf begins with. Labels say only how many classes there are.
"""

import argparse
import csv
import dataclasses
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_blobs
from sklearn.metrics import calinski_harabasz_score, silhouette_score
from sklearn.mixture import GaussianMixture

from nvisa_tf import Dataset, RunConfig, load_dataset
from nvisa_tf.clustering.communities import RESOLUTIONS, communities, components, neighbor_graph
from nvisa_tf.config.number_of_clusters import Limits
from nvisa_tf.data import input_scaling
from nvisa_tf.data.dataset import scaled
from nvisa_tf.runs.number_of_clusters import number_of_clusters

COUNTS = range(2, 21)
OF_OTHERS = 5_000  # examples that the other criteria look at


def arrays(name):
    """Data sets of scikit-learn by name, others as nvisa-tf has them: training examples."""
    made = {
        "blobs": lambda: make_blobs(500, centers=5, n_features=8, random_state=0),
        "unequal_blobs": lambda: make_blobs([1000, 300, 100, 50, 30], n_features=8, random_state=0),
        "gaussian": lambda: (np.random.default_rng(0).standard_normal((1000, 8)), np.zeros(1000, int)),
        "iris": lambda: load_iris(return_X_y=True),
        "wine": lambda: load_wine(return_X_y=True),
        "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    }
    if name not in made:
        return load_dataset(name).train
    x, y = made[name]()
    return Dataset(name, x.astype(np.float32), y, None)


def of_others(data, config, seed):
    """K by each of the other criteria."""
    rows = np.sort(np.random.default_rng(seed).permutation(len(data))[:OF_OTHERS])
    scale, shift = input_scaling(data, "auto", config.model.unit_length)
    codes = components(scaled(np.asarray(data.x[rows], np.float32), scale, shift, config.model.unit_length), seed)
    clusters = {k: KMeans(k, n_init=3, random_state=seed).fit_predict(codes) for k in COUNTS}
    bic = {k: GaussianMixture(k, reg_covar=1e-4, random_state=seed).fit(codes).bic(codes) for k in COUNTS}
    graph, rng = neighbor_graph(codes), np.random.default_rng(seed)
    partitions = [communities(graph, resolution, rng) for resolution in RESOLUTIONS]
    return {
        "silhouette": max(COUNTS, key=lambda k: silhouette_score(codes, clusters[k])),
        "calinski_harabasz": max(COUNTS, key=lambda k: calinski_harabasz_score(codes, clusters[k])),
        "bic": min(COUNTS, key=lambda k: bic[k]),
        "modularity": max(partitions, key=lambda partition: partition.modularity).n_clusters,
    }


def main():
    """Measure, print, and add rows to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", required=True, help="names or files")
    parser.add_argument("--features", nargs="*", default=[], help="those of them that are features of photos, whose length says nothing")
    parser.add_argument("--no-others", action="store_true", help="leave the other criteria out, which take most of the time")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--out", required=True, help="a .csv file, to which rows are added")
    flags = parser.parse_args()
    rows = []
    for name in flags.datasets:
        data = arrays(name)
        for seed in range(flags.seeds):
            config = RunConfig().replace({"seed": seed, "unit_length": name in flags.features})
            unlabelled = dataclasses.replace(data, y=None)
            began = time.monotonic()
            try:
                found = number_of_clusters(unlabelled, config, Limits())[1]
                chosen, each = found.chosen, " ".join(map(str, found.found))
            except ValueError as error:  # nothing divides the data
                chosen, each = 1, str(error).split(": ")[-1].split(")")[0].replace(",", "")
            seconds = time.monotonic() - began
            others = {} if flags.no_others else of_others(unlabelled, config, seed)
            rows.append([Path(name).stem, len(data), len(np.unique(data.y)), seed, chosen, each, f"{seconds:.0f}", *others.values()])
            print(*rows[-1], flush=True)
    new = not Path(flags.out).exists()
    with open(flags.out, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = [
            "dataset",
            "n",
            "classes",
            "seed",
            "found",
            "of_each_part",
            "seconds",
            "silhouette",
            "calinski_harabasz",
            "bic",
            "modularity",
        ]
        writer.writerows([head] * new + rows)


if __name__ == "__main__":
    main()
