"""The clustering methods by name. A new one is a line here, an options dataclass beside this file, and a file or folder in `models`."""

from __future__ import annotations

from typing import NamedTuple

from nvisa_tf.config.ae_gmm import AEGMMOptions
from nvisa_tf.config.dec import DECOptions, IDECOptions
from nvisa_tf.config.gm_gan import GMGANOptions
from nvisa_tf.config.gmvae import GMVAEOptions
from nvisa_tf.config.ltvae import LTVAEGMMOptions, LTVAEOptions
from nvisa_tf.config.neighbors import NeighborInformationOptions, TEMIOptions
from nvisa_tf.config.networks import ModelConfig
from nvisa_tf.config.nvisa import NVISAOptions
from nvisa_tf.config.vae import VaDEOptions, VAEGMMOptions


class Method(NamedTuple):
    """What is known of a method without loading TensorFlow.

    Attributes:
      options: its options, a frozen dataclass.
      model: "module:class" of its `nvisa_tf.models.base.ClusteringModel`, made from (options, seed).
      summary: what it does, for --help.
      small_preset, large_preset: presets for fewer than `presets.SMALL` examples and for more, where none is named.
      vector_preset: the preset for vectors, however many; "": those two.
      feature_preset: the preset for features of photos, however many; "": the one for vectors.
      few_preset: the preset for fewer than `presets.FEW` images; "": that for small data.
      has_density: whether its model can `score_samples`.
      vectorizable: whether its last stage is a `nvisa_tf.models.base.VectorizableStage`, many of which share a program.
      is_soft: whether probabilities of 0.8 and less are what it gives where clusters are clear too.
      for_equal_sizes: whether it asks for clusters of about equal size.
    """

    options: type[ModelConfig]
    model: str
    summary: str
    small_preset: str
    large_preset: str
    vector_preset: str = ""
    few_preset: str = ""
    feature_preset: str = ""
    has_density: bool = False
    vectorizable: bool = False
    is_soft: bool = False
    for_equal_sizes: bool = False


METHODS: dict[str, Method] = {
    "nvisa": Method(
        NVISAOptions,
        "nvisa_tf.models.nvisa.model:NVISA",
        "Gaussian-mixture VAE trained by VIMCO with std annealing (Li et al., IJCNN 2020)",
        small_preset="information_small",
        large_preset="information",
        vector_preset="tabular",
        few_preset="few_images",
        feature_preset="features",
        has_density=True,
        vectorizable=True,
    ),
    "ae_gmm": Method(
        AEGMMOptions,
        "nvisa_tf.models.ae_gmm:AEGMM",
        "an autoencoder, then a Gaussian mixture fitted to its codes",
        small_preset="ae_gmm_small",
        large_preset="ae_gmm",
    ),
    "vae_gmm": Method(
        VAEGMMOptions,
        "nvisa_tf.models.vae_gmm:VAEGMM",
        "a variational autoencoder, then a Gaussian mixture fitted to its posterior means",
        small_preset="vae_gmm_small",
        large_preset="vae_gmm",
        vector_preset="vae_gmm_vectors",
        has_density=True,
    ),
    "dec": Method(
        DECOptions,
        "nvisa_tf.models.dec:DEC",
        "an autoencoder's encoder, trained on to make its own soft clusters sharper (Xie et al., ICML 2016)",
        small_preset="dec_small",
        large_preset="dec",
        is_soft=True,
    ),
    "idec": Method(
        IDECOptions,
        "nvisa_tf.models.dec:IDEC",
        "DEC with the autoencoder's loss kept beside it (Guo et al., IJCAI 2017)",
        small_preset="idec_small",
        large_preset="idec",
        is_soft=True,
    ),
    "vade": Method(
        VaDEOptions,
        "nvisa_tf.models.vade:VaDE",
        "a variational autoencoder with a mixture as its prior, trained together after an autoencoder (Jiang et al., IJCAI 2017)",
        small_preset="vade_small",
        large_preset="vade",
        vector_preset="vade_vectors",
        has_density=True,
    ),
    "ltvae_gmm": Method(
        LTVAEGMMOptions,
        "nvisa_tf.models.ltvae.model:LTVAEGMM",
        "a variational autoencoder with a mixture as its prior, learned by stepwise EM beside the network (Li et al., ICLR 2019)",
        small_preset="ltvae_gmm_small",
        large_preset="ltvae_gmm",
        vector_preset="ltvae_gmm_vectors",
        has_density=True,
    ),
    "ltvae": Method(
        LTVAEOptions,
        "nvisa_tf.models.ltvae.model:LTVAE",
        "a variational autoencoder with several partitions of the data, the latent nodes of a tree whose structure is learned (likewise)",
        small_preset="ltvae_small",
        large_preset="ltvae",
        vector_preset="ltvae_vectors",
        has_density=True,
    ),
    "gmvae": Method(
        GMVAEOptions,
        "nvisa_tf.models.gmvae:GMVAE",
        "a variational autoencoder whose prior is a mixture that a network makes of noise (Dilokthanakul et al., 2016)",
        small_preset="gmvae_small",
        large_preset="gmvae",
        vector_preset="gmvae_vectors",
        has_density=True,
    ),
    "gm_gan": Method(
        GMGANOptions,
        "nvisa_tf.models.gm_gan:GMGAN",
        "a GAN whose prior is a mixture, then a classifier of its components (Ben-Yosef & Weinshall, 2018)",
        small_preset="gm_gan_small",
        large_preset="gm_gan",
        vector_preset="gm_gan_vectors",
    ),
    "neighbor_information": Method(
        NeighborInformationOptions,
        "nvisa_tf.models.neighbors:NeighborInformationNetwork",
        "for features: linear heads trained by the mutual information of the clusters of nearest neighbours (after Ji et al., ICCV 2019)",
        small_preset="neighbor_information",
        large_preset="neighbor_information",
        feature_preset="neighbor_information_features",
        for_equal_sizes=True,
    ),
    "temi": Method(
        TEMIOptions,
        "nvisa_tf.models.neighbors:TEMINetwork",
        "for features: linear heads trained by weighted mutual information of nearest neighbours (Adaloglou et al., BMVC 2023)",
        small_preset="temi",
        large_preset="temi",
        feature_preset="temi_features",
        for_equal_sizes=True,
    ),
}

INIT_FOR_EQUAL_SIZES = ("contrastive", "contrastive_information", "neighbor_information")  # initializations that do so too


def asks_for_equal_sizes(method: str, init: str = "") -> bool:
    """Whether clusters of a run come out of about equal size, so that a large group is split and small ones are joined."""
    return METHODS[method].for_equal_sizes or init in INIT_FOR_EQUAL_SIZES
