"""What the page on attention runs: how its networks are trained, and what it measures on them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.sequences.rnn_lstm import GRU, EncoderDecoder, reversal
from helpers.training import evaluation_mode, train
from helpers.training.loop import Loss
from helpers.transformers.attention.additive import Searcher
from helpers.transformers.attention.cache import Cache
from helpers.transformers.attention.decoding import cross_weights, exact_match, greedy
from helpers.transformers.attention.dot_product import attend
from helpers.transformers.attention.multihead import MultiHeadAttention
from helpers.transformers.attention.tasks import DIGIT, TARGETS, TASKS, WORDS, Pairs, number_words, strings
from helpers.transformers.attention.transformer import Translator, translation_loss

WARMUP = 50  # steps
RECIPE = dict(betas=(0.9, 0.98), weight_decay=0.0)
HELD_OUT = 500  # pairs of every task
NUMBER_WORDS = "number words"


def learn(
    model: nn.Module,
    loss: Loss,
    pairs: tuple[Tensor, ...],
    generator: torch.Generator,
    *,
    steps: int,
    rate: float = 1e-2,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """The book's recipe without decay: 50 steps of warm-up, norms up to 1, a cosine from `rate` to a twentieth of it.

    Returns the model on the CPU and in evaluation mode.
    """
    columns = [column.to(device) for column in pairs]
    recipe = RECIPE | dict(rise=WARMUP, end=0.05, clip=1.0)
    train(model, loss, columns, steps, rate=rate, batch_size=batch_size, seed=generator, **recipe)
    return model.cpu()


class Reverser(NamedTuple):
    """A recurrent network that was trained to reverse strings, and strings that it has not seen."""

    model: EncoderDecoder
    source: Int[Tensor, "n t"]
    target: Int[Tensor, "n t"]


def reverser(kind: str) -> EncoderDecoder:
    """An encoder-decoder of GRUs for 8 letters: "one state", or a smaller one with "attention"."""
    if kind == "one state":
        return EncoderDecoder(GRU, dim=16, hidden=64, vocab=8)
    if kind == "attention":
        return Searcher(dim=16, hidden=48, vocab=8)
    raise ValueError(f"kind = {kind!r}: 'one state' or 'attention'")


def train_reverser(
    kind: str, seed: int, *, letters: int, steps: int, device: torch.device | str = "cpu"
) -> Reverser:
    """Train on 6,000 random strings; 500 others are held out. Both kinds get the same strings in the same order."""
    generator = torch.Generator().manual_seed(seed)
    source, target = reversal(6000 + HELD_OUT, letters, generator=generator)
    torch.manual_seed(seed)
    training = source[HELD_OUT:], target[HELD_OUT:]
    model = learn(reverser(kind), string_loss, training, generator, steps=steps, device=device)
    return Reverser(model, source[:HELD_OUT], target[:HELD_OUT])


def string_loss(model: nn.Module, batch: tuple[Int[Tensor, "b s"], Int[Tensor, "b t"]]) -> Float[Tensor, ""]:
    """Cross-entropy of each letter after the true ones, in nats."""
    source, target = batch
    return F.cross_entropy(model(source, target).flatten(0, 1), target.flatten())


@torch.no_grad()
def strings_exact(trained: Reverser) -> float:
    """Which fraction of the held-out strings is written without a mistake."""
    guess = trained.model(trained.source, trained.target).argmax(2)
    return (guess == trained.target).all(1).double().mean().item()


def examples(task: str, seed: int, *, count: int, longest: int) -> tuple[Pairs, Pairs]:
    """`count` training pairs and 500 held-out ones: of strings of 5 to `longest` digits, or of number words."""
    generator = torch.Generator().manual_seed(seed)
    if task == NUMBER_WORDS:
        return number_words(count + HELD_OUT, generator).split(HELD_OUT)
    if task not in TASKS:
        raise ValueError(f"task = {task!r}: one of {', '.join(TASKS)}, {NUMBER_WORDS}")
    return strings(task, count + HELD_OUT, generator, high=longest).split(HELD_OUT)


def train_translator(
    task: str,
    seed: int,
    *,
    count: int,
    longest: int,
    steps: int,
    rate: float,
    device: torch.device | str = "cpu",
    **sizes,
) -> tuple[Translator, float]:
    """A transformer trained on a task, and the fraction of the held-out answers that it writes without a mistake.

    `count` and `longest` are those of `examples`, `sizes` the keywords of `Translator`.
    """
    training, held_out = examples(task, seed, count=count, longest=longest)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    vocab = len(WORDS) if task == NUMBER_WORDS else TARGETS
    model = Translator(vocab=vocab, target_vocab=TARGETS, context=64, **sizes)
    model = learn(model, translation_loss, training, generator, steps=steps, rate=rate, device=device)
    return model, exact_match(model, *held_out).double().mean().item()


def train_at_one_rate(norm_first: bool, depth: int, seed: int, rise: int = 0) -> float:
    """Reverse strings of 3 to 6 digits after 120 updates: the fraction without a mistake.

    The rate is 0.003 from the first update, or after a warm-up of `rise` updates.
    """
    generator = torch.Generator().manual_seed(seed)
    training, held_out = strings("reverse", 4000, generator, low=3, high=6).split(300)
    torch.manual_seed(seed)
    model = Translator(vocab=TARGETS, dim=32, heads=2, hidden=64, depth=depth, context=10, norm_first=norm_first)
    recipe = RECIPE | dict(rise=rise, end=1.0)
    train(model, translation_loss, training, 120, rate=3e-3, batch_size=32, seed=generator, **recipe)
    return exact_match(model, *held_out).double().mean().item()


def softmax_statistics(scores: Float[Tensor, "n s"]) -> Float[Tensor, "3"]:
    """Variance of the scores, mean entropy of their softmax in nats, and mean norm of its Jacobian.

    The softmax is taken over each row; its Jacobian is ∂wᵢ / ∂sⱼ = wᵢ (δᵢⱼ - wⱼ), and the norm is that of all its entries.
    """
    weights = scores.softmax(1)
    entropy = -torch.xlogy(weights, weights).sum(1).mean()
    jacobian = torch.diag_embed(weights) - weights[:, :, None] * weights[:, None]  # [n s s]
    return torch.stack([scores.var(), entropy, jacobian.norm(dim=(1, 2)).mean()])


def inputs_that_reach(output: Float[Tensor, ""], x: Float[Tensor, "1 t d"]) -> int:
    """Of how many positions of `x` the gradient of one number is not zero."""
    (gradient,) = torch.autograd.grad(output, x, retain_graph=True)
    return int(gradient[0].abs().sum(1).count_nonzero())


def outputs_that_move(
    attention: Callable[[Tensor], Tensor], x: Float[Tensor, "b t d"]
) -> list[tuple[int, bool]]:
    """For each t, add 100 to all inputs after it: how many outputs up to t move by a bit, and whether the next one does."""
    before, found = attention(x), []
    for t in range(x.shape[1] - 1):
        moved = x.clone()
        moved[:, t + 1 :] += 100
        changed = (attention(moved) != before).any(2).any(0)
        found.append((int(changed[: t + 1].sum()), bool(changed[t + 1])))
    return found


def aligned_share(model: Translator, pairs: Pairs) -> float:
    """Of a model that reverses strings: how many of the digits written attend most to the digit that they copy.

    Output i of a string of n digits copies digit n - 1 - i. Weights are those of the last decoder layer, averaged over its heads.
    """
    weights = cross_weights(model, pairs.source, pairs.target[:, :-1]).mean(1)  # [n t s]
    length = (pairs.source >= DIGIT).sum(1, keepdim=True)
    step = torch.arange(weights.shape[1])
    hit = weights.argmax(2) == length - 1 - step
    return hit[step < length].double().mean().item()


def zeros_at_place_words(model: Translator, pairs: Pairs) -> float:
    """Of a model that translates number words: how many of the zeros attend most to *hundred* or *thousand*."""
    weights = cross_weights(model, pairs.source, pairs.target[:, :-1]).mean(1)  # [n t s]
    attended = pairs.source.gather(1, weights.argmax(2))
    places = torch.tensor([WORDS.index("hundred"), WORDS.index("thousand")])
    zeros = pairs.target[:, 1:] == DIGIT
    return torch.isin(attended[zeros], places).double().mean().item()


class Decoding(NamedTuple):
    """One layer of attention in the middle of writing, and the next token of each text."""

    layer: MultiHeadAttention
    cache: Cache
    token: Float[Tensor, "b 1 d"]


def in_the_middle(kv_heads: int, generator: torch.Generator, *, past: int = 2048, texts: int = 8) -> Decoding:
    """Eight query heads of width 32 after `past` tokens of each of `texts`, with room for eight more."""
    layer = MultiHeadAttention(dim=256, heads=8, kv_heads=kv_heads)
    cache = Cache(past + 8)
    old = torch.randn(texts, kv_heads, past, 32, generator=generator)
    cache.extend(old, old)
    return Decoding(layer, cache, torch.randn(texts, 1, 256, generator=generator))


@torch.no_grad()
def seconds_of_eight_steps(decoding: Decoding) -> float:
    """CPU seconds of eight steps with one new token each; the cache is then as it was."""
    past = decoding.cache.length
    begun = time.process_time()
    for _ in range(8):
        decoding.layer(decoding.token, causal=True, cache=decoding.cache)
    seconds = time.process_time() - begun
    decoding.cache.length = past
    return seconds


def seconds_of_writing(
    model: Translator, source: Int[Tensor, "b s"], steps: int, *, cache: bool
) -> tuple[Int[Tensor, "b t"], float]:
    """What `greedy` writes, and the CPU seconds that it took."""
    begun = time.process_time()
    text = greedy(model, source, steps, cache=cache)
    return text, time.process_time() - begun


@torch.no_grad()
def logits_by_cache(
    model: Translator, source: Int[Tensor, "b s"], target: Int[Tensor, "b t"]
) -> Float[Tensor, "b t k"]:
    """The logits after each token of `target`, which is read one token at a time."""
    with evaluation_mode(model):
        memory, caches = model.encode(source), model.caches()
        parts = [model.decode(token, memory, source, caches) for token in target.split(1, 1)]
    return torch.cat(parts, 1)


def bytes_kept(tokens: int, *, fused: bool) -> int:
    """How many bytes autograd keeps for the backward pass of causal attention with two heads of width 16."""
    q, k, v = (torch.randn(1, 2, tokens, 16, requires_grad=True) for _ in range(3))
    kept = {}

    def note(x):
        storage = x.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        out = attend(q, k, v, causal=True, fused=fused)
    assert out.grad_fn is not None  # the graph lives until here, and with it what it keeps
    return sum(kept.values())
