"""What the page on recurrent networks runs: toy tasks with known answers, and the networks that learn them."""

import random
from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import ImageSet
from helpers.sequences.rnn_lstm.layers import GRU, RNN, Recurrent
from helpers.sequences.rnn_lstm.networks import EncoderDecoder, Reader, Writer
from helpers.sequences.rnn_lstm.tasks import WORDS, adding_problem, markov_chain, moving_dot, recall, reversal
from helpers.sequences.rnn_lstm.through_time import set_memory_bias, truncated_backward
from helpers.sequences.rnn_lstm.trees import Tree, TreeNet, expression, flat, value
from helpers.training import train
from helpers.training.loop import Loss

Device = torch.device | str
LONGEST = 8  # letters of a string that is reversed
TREES = 64  # expressions in a batch
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = "".join(sorted({*"".join(NAMES), "."}))


def learn(
    model: nn.Module, loss: Loss, columns: Sequence[Tensor], steps: int, *, rate: float, seed: int, batch_size: int = 32
) -> Float[Tensor, "steps"]:
    """Adam at a constant rate, gradients clipped to a norm of 1; the losses of all steps."""
    history = train(
        model, loss, columns, steps, rate=rate, end=1.0, clip=1.0, weight_decay=0.0, batch_size=batch_size, seed=seed
    )
    return torch.from_numpy(history["loss"])


def reader(kind: type[Recurrent], run: int, lag: int, **options) -> Reader:
    """A reader of 24 units whose gates begin at the bias log(lag), where it has gates."""
    torch.manual_seed(run)
    net = Reader(kind, hidden=24, **options)
    if kind is not RNN:
        set_memory_bias(net.layer, log(lag))
    return net


def cross_entropy(net: nn.Module, batch: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Of the last column, given the others, in nats."""
    *x, y = batch
    return F.cross_entropy(net(*x).flatten(0, -2), y.flatten())


def squared_error(net: nn.Module, batch: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Of one number for each sequence."""
    x, y = batch
    return F.mse_loss(net(x)[:, 0], y)


@torch.no_grad()
def accuracy(net: nn.Module, batch: Sequence[Tensor]) -> float:
    """Which fraction of the last column the network says, given the others."""
    *x, y = batch
    return (net(*x).argmax(-1) == y).double().mean().item()


def on(device: Device, columns: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """All columns on one device."""
    return tuple(column.to(device) for column in columns)


def recall_score(
    kind: type[Recurrent], run: int, lag: int, *, steps: int, read: str = "last", device: Device = "cpu"
) -> float:
    """Which fraction of 500 new cues a reader recalls after `steps` batches, each sequence seen once."""
    noise = torch.Generator().manual_seed(run)
    net = reader(kind, run, lag, vocab=9, dim=8, classes=4, read=read)
    learn(net, cross_entropy, on(device, recall(32 * steps, lag, generator=noise)), steps, rate=0.01, seed=run)
    return accuracy(net, on(device, recall(500, lag, generator=noise)))


def adding_curve(
    kind: type[Recurrent], run: int, *, span: int, steps: int, device: Device = "cpu"
) -> Float[Tensor, "steps"]:
    """The squared error of each batch of the adding problem over `span` numbers, each sequence seen once."""
    noise = torch.Generator().manual_seed(run)
    net = reader(kind, run, span, dim=2, classes=1)
    columns = on(device, adding_problem(32 * steps, span, generator=noise))
    return learn(net, squared_error, columns, steps, rate=0.02, seed=run)


class Stepper(nn.Module):
    """A GRU that answers at every step of the recall task, and hands on its state; time comes first."""

    def __init__(self, run: int) -> None:
        super().__init__()
        torch.manual_seed(run)
        self.layer, self.head = GRU(9, 24), nn.Linear(24, 4)
        set_memory_bias(self.layer, 1.0)

    def forward(
        self, x: Int[Tensor, "t b"], state: Tensor | None = None
    ) -> tuple[Float[Tensor, "t b 4"], Tensor]:
        out, state = self.layer(F.one_hot(x, 9).float(), state)
        return self.head(out), state


def asked_at_the_end(
    n: int, lag: int, noise: torch.Generator, device: Device = "cpu"
) -> tuple[Int[Tensor, "t n"], Int[Tensor, "t n"]]:
    """The recall task with time first; answers are -100 where nothing is asked."""
    x, cue = recall(n, lag, generator=noise)
    y = torch.full_like(x, -100)
    y[:, -1] = cue
    return x.T.to(device), y.T.to(device)


def loss_at_the_end(logits: Float[Tensor, "t b k"], y: Int[Tensor, "t b"]) -> Float[Tensor, ""]:
    """The sum of the cross-entropies where something is asked."""
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-100, reduction="sum")


def truncated_score(window: int, run: int, *, lag: int, steps: int, device: Device = "cpu") -> float:
    """Train by truncated BPTT with Adam, and give the fraction of 500 new cues that is recalled."""
    net, noise = Stepper(run).to(device), torch.Generator().manual_seed(run)
    optimizer = torch.optim.Adam(net.parameters(), 0.02, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        truncated_backward(net, *asked_at_the_end(32, lag, noise, device), window, loss_at_the_end)
        for p in net.parameters():
            p.grad /= 32
        optimizer.step()
    x, y = asked_at_the_end(500, lag, noise, device)
    with torch.no_grad():
        return (net(x)[0][-1].argmax(1) == y[-1]).double().mean().item()


class Speller(nn.Module):
    """An image becomes the first state of a writer of letters."""

    def __init__(self, run: int, pixels: int = 64) -> None:
        super().__init__()
        torch.manual_seed(run)
        self.look = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 48), nn.Tanh())
        self.writer = Writer(dim=16, hidden=48, vocab=len(LETTERS))

    def forward(
        self, images: Float[Tensor, "b c h w"], tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t k"]:
        return self.writer(self.look(images)[None], tokens)

    @torch.no_grad()
    def spell(self, images: Float[Tensor, "b c h w"]) -> list[str]:
        """The word that is written for each image, up to its first dot."""
        written = self.writer.write(self.look(images)[None], 6).tolist()
        return ["".join(LETTERS[i] for i in row).split(".")[0] for row in written]


def train_speller(digits: ImageSet, run: int, *, steps: int) -> Speller:
    """A speller of the names of digits."""
    spelled = torch.tensor([[LETTERS.index(c) for c in name.ljust(6, ".")] for name in NAMES])
    tokens = spelled.to(digits.labels.device)[digits.labels]
    net = Speller(run, digits.images[0].numel())
    learn(net, spelling_loss, (digits.images, tokens), steps, rate=0.01, seed=run, batch_size=64)
    return net


def spelling_loss(net: nn.Module, batch: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Cross-entropy of the letters of a name, in nats."""
    images, tokens = batch
    return F.cross_entropy(net(images, tokens).flatten(0, 1), tokens.flatten())


class BagOfWords(nn.Module):
    """A mean of word vectors and one hidden layer: order is forgotten, `lengths` are not needed."""

    def __init__(self, run: int) -> None:
        super().__init__()
        torch.manual_seed(run)
        self.bag = nn.EmbeddingBag(len(WORDS), 32, padding_idx=0)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: Int[Tensor, "b t"], lengths: Int[Tensor, "b"]) -> Float[Tensor, "b 2"]:
        return self.head(self.bag(x))


def chain_loss(
    transition: Float[Tensor, "k k"], run: int, *, steps: int, device: Device = "cpu"
) -> float:
    """The cross-entropy, in nats, of an RNN that learned to forecast a Markov chain, on 2,000 new walks."""
    noise = torch.Generator().manual_seed(run)
    walks = markov_chain(transition, 32 * steps + 2000, 21, generator=noise).to(device)
    columns = walks[:, :-1], walks[:, 1:]
    torch.manual_seed(run)
    net = Reader(RNN, vocab=4, dim=4, hidden=16, classes=4, read="every")
    learn(net, cross_entropy, [column[2000:] for column in columns], steps, rate=0.02, seed=run)
    with torch.no_grad():
        return cross_entropy(net, [column[:2000] for column in columns]).item()


def direction_score(run: int, *, steps: int, device: Device = "cpu", **options) -> Float[Tensor, "8"]:
    """Accuracy at each of eight frames of a GRU that names a dot's moves; `options` are those of `Reader`."""
    noise = torch.Generator().manual_seed(run)
    frames, labels = on(device, moving_dot(32 * steps + 500, 8, generator=noise))
    frames = frames.flatten(2)
    torch.manual_seed(run)
    net = Reader(GRU, dim=64, hidden=32, classes=4, read="every", **options)
    learn(net, cross_entropy, (frames[500:], labels[500:]), steps, rate=0.02, seed=run)
    with torch.no_grad():
        return (net(frames[:500]).argmax(2) == labels[:500]).double().mean(0).cpu()


def reversal_loss(net: nn.Module, batch: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Cross-entropy of strings of `LONGEST` letters, cut to a length that is drawn for the batch."""
    source, target = batch
    length = int(torch.randint(1, LONGEST + 1, ()))
    source, target = source[:, :length], target[:, -length:]  # the target is the source backwards
    return F.cross_entropy(net(source, target).flatten(0, 1), target.flatten())


def reversal_scores(
    run: int, hidden: int, *, lengths: Sequence[int], steps: int, device: Device = "cpu"
) -> Float[Tensor, "lengths"]:
    """Which fraction of freshly drawn strings of each length passes through a state of `hidden` numbers without an error."""
    noise = torch.Generator().manual_seed(run)
    torch.manual_seed(run)
    net = EncoderDecoder(GRU, dim=16, hidden=hidden, vocab=8)
    columns = on(device, reversal(64 * steps, LONGEST, generator=noise))
    learn(net, reversal_loss, columns, steps, rate=0.01, seed=run, batch_size=64)
    scores = []
    for length in lengths:
        x, y = on(device, reversal(300, length, generator=noise))
        scores.append((net.translate(x, length) == y).all(1).double().mean().cpu())
    return torch.stack(scores)


def grow(depth: int | None, n: int, draw: random.Random) -> list[Tree]:
    """`n` expressions of one depth, or each of a depth from 1 to 3."""
    return [expression(depth or draw.randrange(1, 4), draw) for _ in range(n)]


def expression_scores(
    run: int, *, depths: Sequence[int], steps: int, device: Device = "cpu"
) -> Float[Tensor, "2 depths"]:
    """Which fraction of 200 freshly drawn expressions of each depth a `TreeNet` and a GRU that reads them flat evaluate rightly.

    Both learn from the same expressions of depth 1 to 3, in the same order; each is seen twice.
    """
    draw = random.Random(run)
    trees = grow(None, TREES * (steps // 2 + steps % 2), draw)
    torch.manual_seed(run)
    folding = TreeNet(dim=16, hidden=64)
    flat_reader = Reader(GRU, vocab=11, dim=16, hidden=48, classes=5)
    answers = torch.tensor([value(tree) for tree in trees])

    def tree_loss(net: nn.Module, batch: Sequence[Tensor]) -> Float[Tensor, ""]:
        which, right = batch
        return F.cross_entropy(net([trees[i] for i in which.tolist()]), right)

    columns = on(device, (torch.arange(len(trees)), answers))
    learn(folding, tree_loss, columns, steps, rate=0.01, seed=run, batch_size=TREES)
    columns = on(device, (*flat(trees), answers))
    learn(flat_reader, cross_entropy, columns, steps, rate=0.01, seed=run, batch_size=TREES)
    scores = []
    for depth in depths:
        new = grow(depth, 200, draw)
        right = torch.tensor([value(tree) for tree in new])
        with torch.no_grad():
            guesses = folding(new), flat_reader(*on(device, flat(new)))
        scores.append(torch.stack([(guess.cpu().argmax(1) == right).double().mean() for guess in guesses]))
    return torch.stack(scores, 1)
