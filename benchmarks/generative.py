"""VAE and GAN training steps against loops by hand."""

from collections.abc import Iterator
from itertools import pairwise, repeat

import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from benchmarks.harness import Pair
from helpers.data import glyphs
from helpers.generative import gans
from helpers.generative.autoencoders_vae import mlp_vae, negative_elbo
from helpers.training import autocast, fit, gradient_update

LATENT, CODE, BATCH = 32, 16, 64
CHECKS = (
    "Each update of ours also looks for players in evaluation mode, freezes and frees the discriminator's parameters and cuts "
    "the batch: a fixed cost of Python, which shows where the step itself is small."
)
RECORDS = (
    "fit also weighs and records bound, distortion and rate at each step and refuses a loss that is not finite; on the CPU the "
    "Bernoulli likelihood looks for pixels outside [0, 1]: fixed costs, which show where the step itself is small."
)
EAGER = [("", False, None)]
FAST = [(", compiled", True, None), (", bf16", False, torch.bfloat16), (", compiled, bf16", True, torch.bfloat16)]


def pairs(device: torch.device, tiny: bool = False) -> Iterator[Pair]:
    """Steps on glyphs of two sizes; on a GPU compiled and in bf16 too, each against the plain eager loop."""
    forms, steps = EAGER + FAST * (device.type == "cuda"), 2 if tiny else 10
    for size, hidden in [(8, 4)] if tiny else [(8, 64), (28, 32)]:
        x = glyphs(8 if tiny else BATCH, seed=0, size=size).images.to(device)
        for what, compiled, dtype in forms:
            both = gan(x, hidden, compiled, dtype)
            name = f"GAN step, {size}x{size}, batch {len(x)}{what}"
            yield Pair(name, "torch.nn, loop by hand", *both, reason=CHECKS)
    for size, hidden in [(8, 16)] if tiny else [(8, 256), (28, 500)]:
        x = glyphs(8 if tiny else BATCH, seed=0, size=size).images.to(device)
        for what, compiled, dtype in forms:
            both = vae(x, hidden, compiled, dtype, steps)
            name = f"VAE, {steps} steps, {size}x{size}, batch {len(x)}{what}"
            yield Pair(name, "torch.distributions, loop by hand", *both, reason=RECORDS)


def gan(x, hidden: int, compiled: bool, dtype):
    """A step of DCGAN's two players, non-saturating; both sides return the two losses."""
    real = 2 * x - 1
    settings = dict(image=x.shape[-1], channels=1, hidden=hidden)

    def start(make):
        torch.manual_seed(0)
        g, d = (net.to(x.device) for net in make())
        return g, d, *(torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.999)) for n in (g, d))

    def books():
        return gans.DCGANGenerator(**settings, latent=LATENT), gans.DCGANDiscriminator(**settings)

    g, d, *optimizers = start(books)
    played = [torch.compile(net) for net in (g, d)] if compiled else (g, d)
    random = torch.Generator().manual_seed(0)
    pair = gans.loss_pair("non-saturating")
    update = gans.adversarial_update(*played, *optimizers, pair, latent=LATENT, random=random, dtype=dtype)

    def ours():
        return [float(total) / count for total, count in update((real,)).values()]

    g2, d2, g_step, d_step = start(lambda: by_hand(g, d))
    random2, loss = torch.Generator().manual_seed(0), nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(len(x), device=x.device), torch.zeros(len(x), device=x.device)

    def noise():
        return torch.randn(len(x), LATENT, generator=random2).to(x.device)[:, :, None, None]

    def other():
        d_step.zero_grad()
        fake = g2(noise()).detach()
        d_loss = loss(d2(real).flatten(), ones) + loss(d2(fake).flatten(), zeros)
        d_loss.backward()
        d_step.step()
        g_step.zero_grad()
        g_loss = loss(d2(g2(noise())).flatten(), ones)
        g_loss.backward()
        g_step.step()
        return [d_loss.item(), g_loss.item()]

    return ours, other


def by_hand(g: nn.Module, d: nn.Module) -> tuple[nn.Sequential, nn.Sequential]:
    """The same two networks as lists of torch's layers, with the weights of `g` and `d` before any step."""

    def copy(layer):
        match layer:
            case nn.ConvTranspose2d() | nn.Conv2d():
                kind = type(layer)
                sizes = layer.kernel_size, layer.stride, layer.padding
                return kind(layer.in_channels, layer.out_channels, *sizes, bias=False)
            case nn.BatchNorm2d():
                return nn.BatchNorm2d(layer.num_features)
            case nn.LeakyReLU():
                return nn.LeakyReLU(0.2)
        return type(layer)()

    found = []
    for net in (g, d):
        twin = nn.Sequential(*map(copy, net.main))
        twin.load_state_dict(net.main.state_dict())
        found.append(twin)
    return tuple(found)


def vae(x, hidden: int, compiled: bool, dtype, steps: int):
    """Steps of a Bernoulli VAE; both sides return the loss of each."""
    pixels = x[0].numel()
    torch.manual_seed(0)
    model = mlp_vae(image=tuple(x.shape[1:]), dim=CODE, hidden=(hidden,)).to(x.device)
    encoder, decoder = (mlp(*w).to(x.device) for w in ((pixels, hidden, 2 * CODE), (CODE, hidden, pixels)))
    for twin, net in ((encoder, model.encoder), (decoder, model.decoder)):
        for mine, theirs in zip(twin.parameters(), net.parameters(), strict=True):
            mine.data.copy_(theirs.data)
    loss = negative_elbo if dtype is None else autocast(negative_elbo, dtype)
    update = gradient_update(
        torch.compile(model) if compiled else model, torch.optim.Adam(model.parameters(), 1e-3), loss
    )

    def ours():
        torch.manual_seed(0)
        return fit(update, repeat((x,)), steps, progress=False)["loss"].tolist()

    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    flat, prior = x.flatten(1), Normal(torch.zeros((), device=x.device), torch.ones((), device=x.device))

    def other():
        torch.manual_seed(0)
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            mean, log_variance = encoder(flat).chunk(2, dim=1)
            q = Normal(mean, (log_variance / 2).exp())
            p = Independent(Bernoulli(logits=decoder(q.rsample()), validate_args=False), 1)
            value = (kl_divergence(q, prior).sum(1) - p.log_prob(flat)).mean()
            value.backward()
            optimizer.step()
            losses.append(value.item())
        return losses

    return ours, other


def mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
