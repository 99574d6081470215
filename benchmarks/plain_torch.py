"""The same model trained by VIMCO as its paper writes it, in PyTorch, with no tricks: what a user would write."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def step(
    batch: int, n_samples: int, input_dim: int, compiled: bool, units: int = 500, latent_dim: int = 10, n_clusters: int = 10
) -> Callable[[], float]:
    """One Adam step on a fixed batch of bytes, Gaussian p(x|z) with sigma from the network, eps 1; it gives the bound."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(input_dim, units), nn.LeakyReLU(0.2), nn.Linear(units, units), nn.LeakyReLU(0.2))
            self.to_y = nn.Linear(units, n_clusters)
            self.joint = nn.Linear(units + n_clusters, units)
            self.to_z = nn.Linear(units, 2 * latent_dim)
            self.decoder = nn.Sequential(nn.Linear(latent_dim, units), nn.LeakyReLU(0.2), nn.Linear(units, units), nn.LeakyReLU(0.2))
            self.to_x = nn.Linear(units, 2 * input_dim)
            self.prior_loc = nn.Parameter(torch.randn(n_clusters, latent_dim))
            self.prior_raw = nn.Parameter(torch.full((n_clusters, latent_dim), math.log(math.expm1(1.0))))

        def log_probs(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = self.trunk(x)
            q_y = torch.distributions.Categorical(logits=self.to_y(h), validate_args=False)
            y = q_y.sample((n_samples,))
            joined = torch.cat([h.expand(n_samples, -1, -1), F.one_hot(y, n_clusters).to(h.dtype)], -1)
            loc, raw = self.to_z(F.leaky_relu(self.joint(joined), 0.2)).chunk(2, -1)
            q_z = torch.distributions.Normal(loc, F.softplus(raw) + 1.0, validate_args=False)
            z = q_z.sample()
            p_z = torch.distributions.Normal(self.prior_loc[y], F.softplus(self.prior_raw)[y], validate_args=False)
            mean, raw_x = self.to_x(self.decoder(z)).chunk(2, -1)
            p_x = torch.distributions.Normal(mean, F.softplus(raw_x) + 1.0, validate_args=False)
            log_p = p_x.log_prob(x).sum(-1) + p_z.log_prob(z).sum(-1) - math.log(n_clusters)
            return log_p, q_y.log_prob(y) + q_z.log_prob(z).sum(-1)

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    others = ~torch.eye(n_samples, dtype=torch.bool)
    data = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, input_dim), np.uint8))

    def loss_of(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_p, log_q = model.log_probs(images.to(torch.float32) / 255)
        log_w = log_p - log_q
        fixed = log_w.detach()
        bound = torch.logsumexp(log_w, 0) - math.log(n_samples)
        # Row m: the log-weights with the geometric mean of the others in the place of the m-th.
        mean_of_others = (fixed.sum(0) - fixed) / (n_samples - 1)
        without = torch.where(others[..., None], fixed[None], mean_of_others[:, None])
        signal = bound.detach() - (torch.logsumexp(without, 1) - math.log(n_samples))
        return -((signal * log_q).sum(0) + bound).mean(), bound.mean()

    run = torch.compile(loss_of) if compiled else loss_of

    def one() -> float:
        optimizer.zero_grad()
        loss, bound = run(data)
        loss.backward()
        optimizer.step()
        return float(bound.detach())

    return one
