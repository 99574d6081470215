"""A start from the weights of a model that was trained before, in place of random weights."""

from __future__ import annotations

import dataclasses
from typing import Any

from nvisa_tf.model import NVISA
from nvisa_tf.options import as_text

FREE = {"l2", "hold_scales", "learn_prior_weights", "baseline_units"}  # options that change no weight's meaning


def take_weights(model: NVISA, other: NVISA, source: str) -> None:
    """Give `model` the networks, the prior and the input scaling of `other`; its step, eps and seed stay its own.

    Args:
      model: it is changed.
      other: what it learns on from.
      source: where `other` is from, for a person.

    Raises:
      ValueError: the two differ in an option that the weights depend on; nothing is changed.
    """
    for field in dataclasses.fields(model.config):
        here, there = getattr(model.config, field.name), getattr(other.config, field.name)
        if here != there and field.name not in FREE:
            raise ValueError(f"start_from: {source} has {field.name} {as_text(there)} and this run {as_text(here)}; they must be the same.")
    for mine, its in zip(_networks(model), _networks(other), strict=True):
        mine.set_weights(its.get_weights())
    model.prior.loc.assign(other.prior.loc)
    model.prior.raw_scale.assign(other.prior.raw_scale)
    if model.prior.logits.trainable:  # else pi stays uniform
        model.prior.logits.assign(other.prior.logits)
    model.input_scale.assign(other.input_scale)
    model.input_shift.assign(other.input_shift)


def _networks(model: NVISA) -> list[Any]:
    return [model.encoder, model.cluster_head, model.latent_head, model.decoder]
