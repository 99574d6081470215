"""What an autoencoder's or a contrastive network's codes give without NVISA: k-means, mixtures, maps and equal parts, by seed.

    python benchmarks/initializations.py --dataset mnist --init-epochs 25 --output initializations.json
    python benchmarks/initializations.py --dataset fashion_mnist --network contrastive --brightness 1 --methods ae_kmeans,balanced

One network, as `nvisa-tf train --init` trains it, and on its codes several fits of each method, each the best of `--fits` starts.
Accuracies are those of the test split. The method ae_gmm is a mixture among either network's codes; balanced wants the contrastive one's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import report

from nvisa_tf import NVISA, Augmentation, RunConfig, clustering_accuracy, input_scaling, load_dataset
from nvisa_tf.clustering import mixtures
from nvisa_tf.clustering.mixtures import fit_mixture, spread_rows
from nvisa_tf.io.files import write_text
from nvisa_tf.models.base import TrainingData, TrainingStage
from nvisa_tf.models.nvisa.initialization import MAX_EXAMPLES, initialization_stages
from nvisa_tf.models.pretraining import AutoencoderStage, ContrastiveStage, rescale
from nvisa_tf.training.batches import step_runner


def train_network(network: TrainingStage) -> None:
    """All steps of a stage, a tenth of them in one call."""
    network.begin()
    options = {"batch_size": network.batch_size, "seed": network.shuffle_seed, "pipeline": "memory", "total_steps": network.total_steps}
    run = step_runner(network.train_step, network.step, network.x, xla=False, **options)
    per_call = max(1, network.total_steps // 10)
    for done in range(0, network.total_steps, per_call):
        run(min(per_call, network.total_steps - done))
        print(f"{network.name}: step {int(network.step.numpy())} of {network.total_steps}", network.progress(), flush=True)
    network.finish()


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
    parser.add_argument("--methods", default="ae_kmeans,ae_gmm,ae_tsne,ae_umap")
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
    config = RunConfig.of(
        "nvisa",
        {
            "input_shape": splits.train.shape,
            "latent_dim": flags.latent_dim,
            "decoder_scale": "per_dimension",
            "init": "contrastive" if flags.network == "contrastive" else "ae_kmeans",
            "init_epochs": flags.init_epochs,
            "batch_size": flags.batch_size,
            "augment": flags.augment,
            **{f"augment_{change}": getattr(flags, change) for change in Augmentation._fields},
            "seed": flags.seed,
        },
    )
    model = NVISA(config.model, seed=flags.seed)
    model.set_preprocessing(*input_scaling(splits.train))
    began = time.monotonic()
    # The autoencoder, the contrastive network if there is one, and distillation, which is left out.
    network = initialization_stages(model, TrainingData(splits.train, splits.test), config.model, config.train)[-2]
    if not isinstance(network, AutoencoderStage | ContrastiveStage):
        raise TypeError(f"The stage before distillation is {network.name}, which is no network with codes.")
    train_network(network)
    minutes = (time.monotonic() - began) / 60
    codes = network.codes(splits.train.take(spread_rows(len(splits.train), MAX_EXAMPLES, 0)))
    if isinstance(network, AutoencoderStage):
        codes = rescale(model.decoder, network.head, codes)
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
