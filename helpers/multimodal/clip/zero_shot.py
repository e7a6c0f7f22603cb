"""What a trained CLIP is good for: classifiers from words, retrieval, probes; and how its space is shaped."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from helpers.foundations import linear_classifiers

Embed = Callable[[list[str]], Tensor]


def classifier(
    embed: Embed, names: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "k d"]:
    """One direction for each class, made of words (section 3.1.4).

    Each of the `templates` with a name in the place of its "{}" is a
    prompt; `embed` maps texts to features. A class is the mean of its
    prompts' features of length 1, brought to length 1. Raises `ValueError`
    for no name or template, for one string in the place of a list, and for
    a template that has no place for the name.
    """
    if isinstance(names, str) or isinstance(templates, str):
        raise ValueError(
            f"names = {names!r}, templates = {templates!r}: a list each, as "
            "['a {}']"
        )
    names, templates = list(names), list(templates)
    if not names or not templates:
        raise ValueError(
            f"{len(names)} names, {len(templates)} templates: give 1 or more"
        )
    for template in templates:
        if not isinstance(template, str) or "{}" not in template:
            raise ValueError(
                f"template {template!r} has no {{}}, where the name of the "
                "class goes"
            )
    prompts = [t.replace("{}", name) for name in names for t in templates]
    features = F.normalize(embed(prompts), dim=1)
    features = features.unflatten(0, (len(names), len(templates)))
    return F.normalize(features.mean(1), dim=1)


def zero_shot(
    images: Float[Tensor, "n d"], classes: Float[Tensor, "k d"]
) -> Int[Tensor, "n"]:
    """The class whose direction is nearest to each image's.

    Raises `ValueError` for features of other widths or that are no numbers.
    """
    check_space(images, classes)
    return (images @ classes.T).argmax(1)


def recall(
    queries: Float[Tensor, "n d"],
    found: Float[Tensor, "n d"],
    k: int = 1,
    *,
    same: Bool[Tensor, "n n"] | None = None,
) -> float:
    """Share of queries whose own partner is among the `k` nearest.

    Partners stand at equal places. `same` marks further right answers, as
    other pictures that the same sentence describes. Raises `ValueError`
    for k outside 1 … n, for features that are no pairs, and for nan.
    """
    check_space(queries, found)
    n = len(found)
    if len(queries) != n or (same is not None and same.shape != (n, n)):
        raise ValueError(
            f"{len(queries)} queries and {n} that can be found: they are "
            "pairs, and `same` is [n, n]"
        )
    if not 1 <= k <= n:
        raise ValueError(f"k = {k}: from 1 to the {n} that can be found")
    nearest = (queries @ found.T).topk(k, 1).indices
    if same is None:
        same = torch.eye(n, dtype=torch.bool, device=found.device)
    return same.gather(1, nearest).any(1).double().mean().item()


def few_shots(
    labels: Int[Tensor, "n"], shots: int, generator: torch.Generator
) -> Int[Tensor, "k"]:
    """Places of `shots` samples of each class, drawn at random.

    Raises `ValueError` where a class has fewer.
    """
    chosen = []
    for label in labels.unique().tolist():
        places = (labels == label).nonzero()[:, 0]
        if not 1 <= shots <= len(places):
            raise ValueError(
                f"shots = {shots}: class {label} has {len(places)} samples"
            )
        order = torch.randperm(len(places), generator=generator)
        chosen.append(places[order[:shots]])
    return torch.cat(chosen)


def linear_probe(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    strength: float = 1.0,
) -> Callable[[Float[Tensor, "m d"]], Int[Tensor, "m"]]:
    """A logistic regression on frozen features, as a function to labels.

    The probe of *Linear classifiers*, solved by L-BFGS (section 3.2 of the
    paper). `strength` is scikit-learn's C: the larger, the less the weights
    are held back. Raises `ValueError` for a strength that is not above 0,
    features that are not finite and labels that do not fit them.
    """
    if not strength > 0:
        raise ValueError(f"strength = {strength}: it is above 0, often 1")
    check_numbers(features)
    if len(labels) != len(features):
        raise ValueError(
            f"{len(features)} features and {len(labels)} labels: one each"
        )
    classes, places = labels.to(features.device).unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError("labels of 1 class: a probe tells 2 or more apart")
    l2 = 1 / (strength * len(features))
    probe = linear_classifiers.linear_probe(features.double(), places, l2=l2)

    def predict(features: Float[Tensor, "m d"]) -> Int[Tensor, "m"]:
        return classes[probe(features.double()).argmax(1)]

    return predict


def modality_gap(
    images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"]
) -> Float[Tensor, "d"]:
    """From the mean of the texts to that of the images.

    The gap of Liang et al. 2022 (arXiv:2203.02053) is its length: 0 where
    both modalities fill the same part of the sphere. Raises `ValueError`
    for no features of one, and for nan.
    """
    check_space(images, texts)
    return images.mean(0) - texts.mean(0)


def alignment_and_uniformity(
    images: Float[Tensor, "n d"], texts: Float[Tensor, "n d"]
) -> tuple[float, float]:
    """How near partners are, and how evenly all images spread.

    The mean squared distance of partners, and the logarithm of the mean of
    exp(-2 ‖x - y‖²) over pairs of images: the lower, the more evenly (Wang
    & Isola 2020, arXiv:2005.10242). Raises `ValueError` for fewer than 2
    pairs, for what are no pairs, and for nan.
    """
    check_space(images, texts)
    if images.shape != texts.shape or len(images) < 2:
        raise ValueError(
            f"features of {tuple(images.shape)} and {tuple(texts.shape)}: "
            "pairs, and 2 or more"
        )
    near = (images - texts).square().sum(1).mean().item()
    spread = torch.pdist(images).square().mul(-2).exp().mean().log().item()
    return near, spread


def check_space(one, other):
    """Refuse features that do not lie in one space."""
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(
            f"features of {tuple(one.shape)} and {tuple(other.shape)}: "
            "[n, d] both, with one d"
        )
    if not len(one) or not len(other):
        raise ValueError(
            f"{len(one)} and {len(other)} features: give 1 or more of each"
        )
    check_numbers(one)
    check_numbers(other)


def check_numbers(features):
    """Refuse features with nan, which are near to nothing."""
    if features.isnan().any():
        row = int(features.isnan().any(1).int().argmax())
        raise ValueError(f"feature {row} holds nan: look at its encoder")
