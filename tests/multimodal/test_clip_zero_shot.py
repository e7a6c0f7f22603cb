"""Classifiers from words, retrieval, probes and the gap, against loops and by hand."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from helpers.multimodal.clip import (
    alignment_and_uniformity,
    classifier,
    few_shots,
    linear_probe,
    modality_gap,
    recall,
    zero_shot,
)

close = partial(torch.testing.assert_close, rtol=0, atol=1e-10)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(noise(*shape, seed=seed), dim=1)


def test_classifier_is_the_mean_of_prompts():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return unit(len(texts), 5)

    found = classifier(embed, ["cat", "dog"], ["a {}.", "the {}!", "{}"])
    assert asked == ["a cat.", "the cat!", "cat", "a dog.", "the dog!", "dog"]
    parts = unit(6, 5)
    for k in range(2):
        mean = (parts[3 * k] + parts[3 * k + 1] + parts[3 * k + 2]) / 3
        close(found[k], mean / mean.norm())
    close(classifier(embed, ["cat", "dog"], ["{}"]), unit(2, 5))


def test_zero_shot_is_the_nearest_direction():
    images, classes = unit(9, 4), unit(3, 4, seed=1)
    expected = [max(range(3), key=lambda k: float(image @ classes[k])) for image in images]
    assert zero_shot(images, classes).tolist() == expected


@pytest.mark.parametrize("k", [1, 3, 10])
def test_recall_matches_a_loop(k):
    queries, found = unit(10, 3), unit(10, 3, seed=1)
    hits = 0
    for i in range(10):
        order = sorted(range(10), key=lambda j: -float(queries[i] @ found[j]))
        hits += i in order[:k]
    assert recall(queries, found, k) == pytest.approx(hits / 10)
    assert recall(queries, queries, k) == 1
    if k == 10:
        assert recall(queries, found, k) == 1


def test_recall_takes_further_right_answers():
    queries = torch.eye(3, dtype=torch.float64)
    found = queries[[1, 0, 2]]
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    assert recall(queries, found) == pytest.approx(1 / 3)
    assert recall(queries, found, same=same) == 1


def test_few_shots_are_as_many_of_each_class():
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 2, 2, 0, 1])
    chosen = few_shots(labels, 2, torch.Generator().manual_seed(0))
    assert labels[chosen].tolist() == [0, 0, 1, 1, 2, 2] and len(set(chosen.tolist())) == 6
    again = few_shots(labels, 2, torch.Generator().manual_seed(0))
    assert torch.equal(chosen, again)
    others = [few_shots(labels, 2, torch.Generator().manual_seed(i)).tolist() for i in range(9)]
    assert len(set(map(tuple, others))) > 1


def test_linear_probe_matches_reference():
    from sklearn.linear_model import LogisticRegression

    features, labels = noise(60, 4), torch.arange(60) % 3
    features = features + 2 * F.one_hot(labels, 4)
    reference = LogisticRegression(C=0.5, max_iter=1000).fit(features.numpy(), labels.numpy())
    held = noise(200, 4, seed=1) + 1
    found = linear_probe(features, labels, strength=0.5)(held)
    assert found.tolist() == reference.predict(held.numpy()).tolist() and len(found.unique()) == 3
    named = linear_probe(features, torch.tensor([7, 2, 90])[labels], strength=0.5)(held)
    assert named.tolist() == [[7, 2, 90][label] for label in found]  # any numbers may name the classes


def test_gap_is_between_the_means():
    images, texts = noise(5, 3), noise(8, 3, seed=1)
    close(modality_gap(images, texts), images.sum(0) / 5 - texts.sum(0) / 8)
    assert modality_gap(images, images[torch.randperm(5)]).norm() < 1e-12


def test_alignment_and_uniformity_by_hand():
    images, texts = unit(4, 3), unit(4, 3, seed=1)
    near, spread = alignment_and_uniformity(images, texts)
    assert near == pytest.approx((2 - 2 * (images * texts).sum(1)).mean().item())
    pairs = [(-2 * (images[i] - images[j]).square().sum()).exp() for i in range(4) for j in range(i)]
    assert spread == pytest.approx(torch.stack(pairs).mean().log().item())
    assert alignment_and_uniformity(images, images)[0] == 0


def test_prompts_are_filled_in_as_they_stand_and_weigh_alike():
    asked = []

    def embed(texts):
        asked.extend(texts)
        return torch.tensor([[3.0, 0.0], [0.0, 0.5]])

    found = classifier(embed, ["{dog}"], ["{} for {9} €", "a {{}}"])
    assert asked == ["{dog} for {9} €", "a {{dog}}"]
    torch.testing.assert_close(found, torch.full((1, 2), 0.5**0.5))


def test_bad_input_is_named(unchecked):
    nan = unit(3, 2).index_fill(0, torch.tensor([1]), torch.nan)
    for call in (zero_shot, recall, modality_gap, alignment_and_uniformity):
        with pytest.raises(ValueError, match="feature 1 holds nan: look at its encoder"):
            call(unit(3, 2), nan)
        with pytest.raises(ValueError, match=r"features of \(3, 2\) and \(3, 4\): \[n, d\] both"):
            call(unit(3, 2), unit(3, 4))
    with pytest.raises(ValueError, match="feature 1 holds nan"):
        linear_probe(nan, torch.arange(3))
    with pytest.raises(ValueError, match="strength = 0: it is above 0"):
        linear_probe(unit(3, 2), torch.arange(3), strength=0)
    with pytest.raises(ValueError, match="3 features and 2 labels: one each"):
        linear_probe(unit(3, 2), torch.arange(2))
    with pytest.raises(ValueError, match="3 queries and 2 that can be found: they are pairs"):
        recall(unit(3, 2), unit(2, 2))
    with pytest.raises(ValueError, match="pairs, and 2 or more"):
        alignment_and_uniformity(unit(1, 2), unit(1, 2))
    with pytest.raises(ValueError, match="0 and 3 features: give 1 or more of each"):
        modality_gap(unit(0, 2), unit(3, 2))
    with pytest.raises(ValueError, match="templates = 'a {}': a list each"):
        classifier(lambda texts: unit(len(texts), 3), ["cat"], "a {}")
    with pytest.raises(ValueError, match="has no {}, where the name"):
        classifier(lambda texts: unit(len(texts), 3), ["cat"], [str.upper])

    def embed(texts):
        return unit(len(texts), 3)

    with pytest.raises(ValueError, match=r"template 'a cat' has no \{\}"):
        classifier(embed, ["cat"], ["{}", "a cat"])
    with pytest.raises(ValueError, match="0 names, 1 templates"):
        classifier(embed, [], ["{}"])
    with pytest.raises(ValueError, match="k = 4: from 1 to the 3"):
        recall(unit(3, 2), unit(3, 2), 4)
    with pytest.raises(ValueError, match="shots = 2: class 1 has 1 samples"):
        few_shots(torch.tensor([0, 0, 1]), 2, torch.Generator())
    with pytest.raises(ValueError, match="labels of 1 class"):
        linear_probe(unit(3, 2), torch.zeros(3, dtype=torch.long))
