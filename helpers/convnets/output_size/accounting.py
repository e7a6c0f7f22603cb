"""What a network costs, layer by layer: from its plan alone, from the running module, from autograd's own memory."""

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from helpers.convnets.output_size.arithmetic import (
    conv_multiply_adds,
    conv_output_size,
    conv_parameters,
    plain,
    pool_output_size,
)
from helpers.convnets.output_size.running import counting
from helpers.training import evaluation_mode


class Conv(NamedTuple):
    """A square convolution, with a bias and a ReLU behind it."""

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1


class Pool(NamedTuple):
    """Max pooling."""

    kernel: int
    stride: int


class Linear(NamedTuple):
    """A fully connected layer, with a bias; its input is flattened."""

    features: int


Plan = dict[str, Conv | Pool | Linear]


class Row(NamedTuple):
    """One layer's output shape (c, h, w), and what it costs for one image.

    Where the first axis is not the batch, but frames, windows or time, the shape begins with it.
    """

    layer: str
    shape: tuple[int, ...]
    weights: int
    parameters: int  # weights and biases
    activations: int  # numbers that the layer stores
    multiply_adds: int


ALEXNET: Plan = {
    "CONV1": Conv(96, kernel=11, stride=4),
    "POOL1": Pool(3, stride=2),
    "CONV2": Conv(256, kernel=5, padding=2),
    "POOL2": Pool(3, stride=2),
    "CONV3": Conv(384, kernel=3, padding=1),
    "CONV4": Conv(384, kernel=3, padding=1),
    "CONV5": Conv(256, kernel=3, padding=1),
    "POOL3": Pool(3, stride=2),
    "FC6": Linear(4096),
    "FC7": Linear(4096),
    "FC8": Linear(1000),
}
"""AlexNet (Krizhevsky et al. 2012) as the CS231n course draws it: one tower, no groups, no norms; input 3x227x227."""

VGG16: Plan = {
    "CONV1-1": Conv(64, kernel=3, padding=1),
    "CONV1-2": Conv(64, kernel=3, padding=1),
    "POOL1": Pool(2, stride=2),
    "CONV2-1": Conv(128, kernel=3, padding=1),
    "CONV2-2": Conv(128, kernel=3, padding=1),
    "POOL2": Pool(2, stride=2),
    "CONV3-1": Conv(256, kernel=3, padding=1),
    "CONV3-2": Conv(256, kernel=3, padding=1),
    "CONV3-3": Conv(256, kernel=3, padding=1),
    "POOL3": Pool(2, stride=2),
    "CONV4-1": Conv(512, kernel=3, padding=1),
    "CONV4-2": Conv(512, kernel=3, padding=1),
    "CONV4-3": Conv(512, kernel=3, padding=1),
    "POOL4": Pool(2, stride=2),
    "CONV5-1": Conv(512, kernel=3, padding=1),
    "CONV5-2": Conv(512, kernel=3, padding=1),
    "CONV5-3": Conv(512, kernel=3, padding=1),
    "POOL5": Pool(2, stride=2),
    "FC6": Linear(4096),
    "FC7": Linear(4096),
    "FC8": Linear(1000),
}
"""VGG16, configuration D of Simonyan & Zisserman 2014 (arXiv:1409.1556); input 3x224x224."""


def volume_table(plan: Plan, input_shape: tuple[int, int, int]) -> list[Row]:
    """Follow a volume (c, h, w) through a plan by arithmetic alone; the first row is the input.

    Raises `ValueError` for a size that does not fit, and for a convolution or a pool behind a linear layer.
    """
    shape = plain(input_shape)
    if not isinstance(shape, tuple) or len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape = {input_shape!r}: it is (channels, rows, columns), each at least 1")
    rows = [Row("INPUT", shape, 0, 0, prod(shape), 0)]
    c, *size = shape
    size = tuple(size)
    for name, layer in plan.items():
        weights = biases = multiply_adds = 0
        if isinstance(layer, Conv | Pool) and not size:
            raise ValueError(f"{name}: behind a linear layer there is no image left for {type(layer).__name__}")
        if isinstance(layer, Conv):
            size = conv_output_size(size, layer.kernel, layer.stride, layer.padding)
            weights = conv_parameters(c, layer.channels, layer.kernel, False, layer.groups)
            multiply_adds = conv_multiply_adds(c, layer.channels, layer.kernel, size, layer.groups)
            c = biases = layer.channels
        elif isinstance(layer, Pool):
            size = pool_output_size(size, layer.kernel, layer.stride)
        elif isinstance(layer, Linear):
            if layer.features < 1:
                raise ValueError(f"{name}: features = {layer.features}: it is at least 1")
            weights = multiply_adds = c * prod(size) * layer.features
            c, size = layer.features, ()
            biases = c
        else:
            raise ValueError(f"{name}: {layer!r} is no Conv, Pool or Linear of a plan")
        shape = (c, *size)
        rows.append(Row(name, shape, weights, weights + biases, prod(shape), multiply_adds))
    return rows


def as_module(plan: Plan, input_shape: tuple[int, int, int]) -> nn.Sequential:
    """The network of a plan, a ReLU behind each layer with weights but the last; `with torch.device("meta")` it is free.

    Raises `ValueError` as `volume_table` does, and for a plan without layers.
    """
    if not plan:
        raise ValueError("the plan has no layer")
    layers: list[nn.Module] = []
    before = volume_table(plan, input_shape)[:-1]  # what each layer is fed
    for fed, layer in zip(before, plan.values()):
        if isinstance(layer, Conv):
            options = dict(stride=layer.stride, padding=layer.padding, groups=layer.groups)
            layers += [nn.Conv2d(fed.shape[0], layer.channels, layer.kernel, **options), nn.ReLU()]
        elif isinstance(layer, Pool):
            layers += [nn.MaxPool2d(layer.kernel, layer.stride)]
        else:
            flatten = [nn.Flatten()] if len(fed.shape) == 3 else []
            layers += [*flatten, nn.Linear(prod(fed.shape), layer.features), nn.ReLU()]
    return nn.Sequential(*layers[:-1] if isinstance(layers[-1], nn.ReLU) else layers)


def layer_table(
    model: nn.Module, input_shape: tuple[int, ...], dtype: torch.dtype | None = None
) -> list[Row]:
    """What each layer of a running module costs for one input of `input_shape` (without a batch axis).

    One row for each call of a module that has no children or holds parameters of its own, in order of the calls, named
    as in `named_modules`. A module called twice has two rows; parameters count where they are first used, so that the
    column adds up to the model's total, modules that are never called making the last rows. An output that lives
    in the memory of the input or of an earlier row (views, in-place layers, dropout at test time) stores nothing: 0
    activations. Multiply-adds are counted as by `multiply_adds`; those which `forward` computes outside of such modules
    (`x @ y`, attention) stand in one row by themselves, "outside of modules", so that this column adds up, too.

    The model runs once, in `eval()` and without gradients, on zeros on the device and of the type of its parameters;
    on the device "meta" that costs neither time nor memory. A model that begins with an embedding wants
    `dtype=torch.long`. Raises `ValueError`, which names the module, where one refuses its input.
    """
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}
    rows: list[Row] = []
    counted: set[nn.Parameter] = set()
    alive: list[Tensor] = []  # a storage that is freed could lend its identity to the next
    begun: list[list] = []  # of each module that runs: itself, the count before it, what its parts have used of it

    def own_parameters(module: nn.Module) -> tuple[int, int]:
        fresh = set(module.parameters(recurse=False)) - counted
        counted.update(fresh)
        return sum(p.numel() for p in fresh if p.ndim > 1), sum(p.numel() for p in fresh)

    def begin(module: nn.Module, _: tuple) -> None:
        begun.append([module, counter.get_total_flops(), 0])

    def record(module: nn.Module, inputs: tuple, output: Any) -> None:
        _, before, parts = begun.pop()
        spent = counter.get_total_flops() - before
        if begun:
            begun[-1][2] += spent
        known = {storage(t) for t in alive} | {storage(t) for t in tensors(inputs)}
        outputs = tensors(output)
        activations = sum(t.numel() for t in outputs if storage(t) not in known)
        alive.extend(outputs)
        shape = tuple(outputs[0].shape) if outputs else ()
        shape = shape[1:] if shape[:1] == (1,) else shape
        rows.append(Row(names[module], shape, *own_parameters(module), activations, (spent - parts) // 2))

    watched = [m for m in model.modules() if not list(m.children()) or list(m.parameters(recurse=False))]
    handles = [m.register_forward_pre_hook(begin) for m in watched] + [m.register_forward_hook(record) for m in watched]
    example = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    zeros = torch.zeros(1, *input_sizes(input_shape), device=example.device, dtype=dtype or example.dtype)
    try:
        with evaluation_mode(model), counting() as counter:
            model(zeros)
    except (RuntimeError, TypeError) as error:
        name = names[begun[-1][0]] if begun else type(model).__name__
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"{name} refuses its input ({reason}): the model was given one {zeros.dtype} tensor of shape "
            f"{tuple(zeros.shape)}; give the input_shape without the batch, and dtype=torch.long for an embedding"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    for module in watched:
        weights, parameters = own_parameters(module)
        if parameters:
            rows.append(Row(f"{names[module]} (never called)", (), weights, parameters, 0, 0))
    outside = counter.get_total_flops() // 2 - sum(row.multiply_adds for row in rows)
    if outside:
        rows.append(Row("outside of modules", (), 0, 0, 0, outside))
    return rows


def input_sizes(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of one input; refuses a number alone and sizes below 1."""
    sizes = plain(input_shape)
    if not isinstance(sizes, tuple) or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(f"input_shape = {input_shape!r}: a tuple of sizes without the batch, such as (3, 224, 224)")
    return sizes


def saved_bytes(model: nn.Module, images: Tensor) -> int:
    """The bytes that autograd keeps of a forward pass for the backward pass: each memory once, parameters left out."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[storage(tensor)] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images)
    own = {storage(p) for p in model.parameters()}
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def tensors(value: Any) -> list[Tensor]:
    """The tensors in a module's inputs or outputs."""
    if isinstance(value, Tensor):
        return [value]
    items: Iterable = ()
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list | tuple):
        items = value
    return [tensor for item in items for tensor in tensors(item)]


def storage(tensor: Tensor) -> int:
    """The identity of the memory that a tensor looks at; equal for a tensor and its views, on any device."""
    return tensor.untyped_storage()._cdata
