"""The README's picture: real held-out images by their cluster, one cluster in each row, drawn at random from it.

python benchmarks/cluster_picture.py RUN --output picture.png
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from nvisa_tf import load_run
from nvisa_tf.data import load_splits

GAP = 4  # white pixels between clusters


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run directory")
    parser.add_argument("--output", required=True, help="a .png file")
    parser.add_argument("--columns", type=int, default=36, help="images of each cluster")
    parser.add_argument("--scale", type=int, default=1, help="pixels of the picture for one of an image")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images")
    flags = parser.parse_args()
    model, config, _ = load_run(flags.run)
    test = load_splits(config.data).test
    clusters = model.predict_clusters(test.x)
    generator = np.random.default_rng(flags.seed)
    rows = [np.flatnonzero(clusters == k) for k in range(config.model.n_clusters)]
    chosen = [generator.choice(members, min(flags.columns, len(members)), replace=False) for members in rows if len(members)]
    height, width = test.shape[:2]
    pitch = height + GAP
    picture = np.full((len(chosen) * pitch - GAP, flags.columns * width, *test.shape[2:]), 255, np.uint8)
    for i, members in enumerate(chosen):
        for j, member in enumerate(members):
            picture[i * pitch : i * pitch + height, j * width : (j + 1) * width] = test.x[member]
    image = Image.fromarray(picture)
    image.resize((image.width * flags.scale, image.height * flags.scale), Image.Resampling.NEAREST).save(flags.output, optimize=True)
    print(f"{flags.output}: {len(chosen)} clusters, up to {flags.columns} random held-out images of each.")


if __name__ == "__main__":
    main()
