"""The symmetric contrastive loss, whole, in chunks, and over several processes
(Radford et al. 2021, arXiv:2103.00020, figure 3; Sohn 2016; van den Oord et al. 2018, arXiv:1807.03748)."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from helpers.training import Metrics, tally
from helpers.training.distributed import rank, world_size
from helpers.training.loop import Batch

Features = Float[Tensor, "n d"]
Scale = Float[Tensor, ""]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def symmetric_loss(logits: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Which text belongs to each image, and which image to each text.

    The mean of the cross-entropy of the rows and that of the columns, in
    nats; matches are on the diagonal. Raises `ValueError` for one pair,
    and where pictures and texts are not equally many.
    """
    if logits.ndim != 2 or len(logits) != logits.shape[1]:
        raise ValueError(
            f"logits of {tuple(logits.shape)}: [n, n], a row for each "
            "picture and a column for the text of each"
        )
    check_pairs(len(logits))
    match = torch.arange(len(logits), device=logits.device)
    rows = F.cross_entropy(logits, match)
    columns = F.cross_entropy(logits.T, match)
    return (rows + columns) / 2


def contrastive_loss(
    images: Features, texts: Features, scale: Scale
) -> Float[Tensor, ""]:
    """`symmetric_loss` of the features of pairs; scale is 1 / temperature."""
    check_features(images, texts)
    return symmetric_loss(scale * images @ texts.T)


def pull_and_push(
    images: Features, texts: Features, scale: Scale
) -> tuple[Features, Features]:
    """The two parts of what the loss does to the images' features.

    Its gradient is push - pull, so that a step downhill goes along the
    pull and against the push:

    pull_i = s / n · t_i, towards the own text;
    push_i = s / 2n · Σ_j (p_ij + q_ij) t_j, from the texts that now win:
    p is the softmax of the rows of logits, q that of the columns.
    """
    check_features(images, texts)
    n = len(images)
    check_pairs(n)
    logits = scale * images @ texts.T
    shares = (logits.softmax(1) + logits.softmax(0)) / 2
    return scale / n * texts, scale / n * shares @ texts


def chunked_loss(
    images: Features, texts: Features, scale: Scale, *, chunk: int
) -> Float[Tensor, ""]:
    """`contrastive_loss` that never holds more than `chunk` rows of logits.

    loss = mean((log Σ_j exp l_ij + log Σ_j exp l_ji) / 2 - l_ii). A chunk
    of rows gives its rows' sums, its share of the columns', and its
    matches; the logits are thrown away, and computed again in the backward
    pass. Sums are taken in float32 at least.
    """
    check_features(images, texts)
    check_pairs(len(images))
    if chunk < 1:
        raise ValueError(f"chunk = {chunk}: it is at least 1 row")

    def sums(start, some, texts, scale):
        logits = scale * some @ texts.T  # [chunk n]
        wide = torch.promote_types(logits.dtype, torch.float32)
        logits = logits.to(wide)
        match = logits.diagonal(start)
        return logits.logsumexp(1), logits.logsumexp(0), match

    parts = [
        checkpoint(sums, i * chunk, some, texts, scale, use_reentrant=False)
        for i, some in enumerate(images.split(chunk))
    ]
    rows, columns, match = zip(*parts)
    columns = torch.stack(columns).logsumexp(0)
    return ((torch.cat(rows) + columns) / 2 - torch.cat(match)).mean()


def gathered_loss(
    images: Features, texts: Features, scale: Scale
) -> Float[Tensor, ""]:
    """This process's share of the loss of all processes' pairs.

    Each compares its own images with everybody's texts and its own texts
    with everybody's images, and holds [n n·processes] logits. The mean of
    the shares is the loss of the whole batch, and the mean of their
    gradients, which is what data-parallel training takes, its gradient.
    All processes hold equally many pairs. Alone it is `contrastive_loss`.
    """
    check_features(images, texts)
    n = len(images)
    check_pairs(n * world_size())
    everyone = [gather_features(part) for part in (images, texts)]
    match = rank() * n + torch.arange(n, device=images.device)
    rows = F.cross_entropy(scale * images @ everyone[1].T, match)
    columns = F.cross_entropy(scale * texts @ everyone[0].T, match)
    return (rows + columns) / 2


class GatherFeatures(torch.autograd.Function):
    """Everybody's features to everybody; their gradients back, added up."""

    @staticmethod
    def forward(ctx, mine):
        """The rows of all processes, in order of rank."""
        parts = [torch.empty_like(mine) for _ in range(world_size())]
        dist.all_gather(parts, mine.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        """What all processes found out about mine, added up."""
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def gather_features(mine: Features) -> Float[Tensor, "_ d"]:
    """The features of all processes, in order of rank, with gradients.

    `torch.distributed.all_gather` alone cuts the graph: each process would
    learn from its own share only.
    """
    return mine if world_size() == 1 else GatherFeatures.apply(mine)


def clip_loss(
    model: nn.Module, batch: Batch, *, loss: Loss = contrastive_loss
) -> tuple[Float[Tensor, ""], Metrics]:
    """`loss` of a batch of images and tokens, and how many pairs are found.

    "accuracy": images whose own text is the nearest of the batch.
    """
    images, texts, scale = model(*batch[:2])
    with torch.no_grad():
        nearest = (images @ texts.T).argmax(1)
        hits = nearest == torch.arange(len(images), device=images.device)
    return loss(images, texts, scale), {"accuracy": tally(hits)}


def check_features(images, texts):
    """Refuse what are no pairs: the k-th image belongs to the k-th text."""
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(
            f"features of images {tuple(images.shape)} and of texts "
            f"{tuple(texts.shape)}: [n, d] both, a text for each image"
        )


def check_pairs(n):
    """Refuse a batch without anything to contrast."""
    if n < 2:
        raise ValueError(
            f"n = {n}: a contrastive loss compares each pair with the other "
            "pairs of its batch, so give 2 or more (drop_last=True leaves "
            "out a rest of one)"
        )
