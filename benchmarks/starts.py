"""What an autoencoder's or a contrastive network's codes give without NVISA: k-means, mixtures, maps and equal parts, by seed.

    python benchmarks/starts.py --dataset mnist --init-epochs 25 --output starts.json
    python benchmarks/starts.py --dataset fashion_mnist --network contrastive --brightness 1 --methods kmeans,balanced

One network, as `nvisa-tf train --init` trains it, and on its codes several fits of each method, each the best of `--fits` starts.
Accuracies are those of the test split. The method ae_gmm is a mixture among either network's codes; balanced wants the contrastive one's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import report

from nvisa_tf import NVISA, ModelConfig, TrainConfig, clustering_accuracy, input_scaling, load_dataset, mixtures
from nvisa_tf.augmentation import Augmentation
from nvisa_tf.files import write_text
from nvisa_tf.mixtures import fit_mixture, spread_rows
from nvisa_tf.training.initialization import MAX_EXAMPLES, Course, contrast, pretrain, rescale
from nvisa_tf.training.learners import Autoencoder


def main() -> None:
    """Train, fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--network", default="autoencoder", choices=("autoencoder", "contrastive"))
    parser.add_argument("--init-epochs", type=int, default=25)
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--augment", action="store_true", help="an autoencoder of changed images; a contrastive network always is")
    for change in Augmentation._fields:
        parser.add_argument(f"--{change}", type=float, default=getattr(Augmentation(), change), help=f"as --augment-{change}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default="kmeans,ae_gmm,ae_tsne,ae_umap")
    parser.add_argument("--repeats", type=int, default=3, help="fits of each method, by seed")
    parser.add_argument("--fits", type=int, default=mixtures.FITS, help="starts of a fit, of which the best is kept")
    parser.add_argument("--umap-neighbours", type=int, default=mixtures.UMAP_NEIGHBOURS)
    parser.add_argument("--umap-dimensions", type=int, default=mixtures.UMAP_DIMENSIONS)
    parser.add_argument("--output", default="")
    flags = parser.parse_args()
    if "balanced" in flags.methods and flags.network != "contrastive":
        parser.error("balanced is for codes of length 1; add --network contrastive")
    mixtures.FITS, mixtures.UMAP_NEIGHBOURS, mixtures.UMAP_DIMENSIONS = flags.fits, flags.umap_neighbours, flags.umap_dimensions
    splits = load_dataset(flags.dataset)
    model = NVISA(ModelConfig(input_shape=splits.train.shape, latent_dim=flags.latent_dim, decoder_scale="per_dimension"), seed=flags.seed)
    model.set_preprocessing(*input_scaling(splits.train))
    config = TrainConfig(
        init_epochs=flags.init_epochs,
        batch_size=flags.batch_size,
        augment=flags.augment,
        **{f"augment_{change}": getattr(flags, change) for change in Augmentation._fields},
        seed=flags.seed,
    )
    began = time.monotonic()
    train = contrast if flags.network == "contrastive" else pretrain
    network = train(model, splits.train, Course(config, lambda message: print(message, flush=True)))
    minutes = (time.monotonic() - began) / 60
    if network is None:
        raise RuntimeError("The network's training was stopped.")
    codes = network.codes(splits.train.take(spread_rows(len(splits.train), MAX_EXAMPLES, 0)))
    if isinstance(network, Autoencoder):
        codes = rescale(network, codes)
    test = network.codes(splits.test).astype(float)
    rows = []
    for method in flags.methods.split(","):
        for seed in range(flags.repeats):
            began = time.monotonic()
            mixture = fit_mixture(codes, 10, method, 1000 * seed)  # the starts of a fit have the seeds that follow
            accuracy = clustering_accuracy(splits.test.y, mixture.predict(test))
            seconds = time.monotonic() - began
            rows.append(
                {"method": method, "seed": seed, "log_likelihood": mixture.log_likelihood, "accuracy": accuracy, "seconds": seconds}
            )
            print(rows[-1], flush=True)
    if flags.output:
        about = {"options": vars(flags), "commit": report.commit(), "network_minutes": minutes, "fits": rows}
        write_text(Path(flags.output), json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
