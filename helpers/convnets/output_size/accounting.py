"""What a network costs, layer by layer: from its plan alone, from the running module, from autograd's own memory."""

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from helpers.convnets.output_size.arithmetic import (
    conv_multiply_adds,
    conv_output_size,
    conv_parameters,
    pool_output_size,
)


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
    """One layer's output shape (c, h, w), and what it costs for one image."""

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
    """Follow a volume through a plan by arithmetic alone; the first row is the input."""
    rows = [Row("INPUT", input_shape, 0, 0, prod(input_shape), 0)]
    c, *size = input_shape
    size = tuple(size)
    for name, layer in plan.items():
        weights = biases = multiply_adds = 0
        if isinstance(layer, Conv):
            size = conv_output_size(size, layer.kernel, layer.stride, layer.padding)
            weights = conv_parameters(c, layer.channels, layer.kernel, False, layer.groups)
            multiply_adds = conv_multiply_adds(c, layer.channels, layer.kernel, size, layer.groups)
            c = biases = layer.channels
        elif isinstance(layer, Pool):
            size = pool_output_size(size, layer.kernel, layer.stride)
        else:
            weights = multiply_adds = c * prod(size) * layer.features
            c, size = layer.features, ()
            biases = c
        shape = (c, *size)
        rows.append(Row(name, shape, weights, weights + biases, prod(shape), multiply_adds))
    return rows


def as_module(plan: Plan, input_shape: tuple[int, int, int]) -> nn.Sequential:
    """The network of a plan, a ReLU behind each layer with weights but the last; `with torch.device("meta")` it is free."""
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


def layer_table(model: nn.Module, input_shape: tuple[int, ...]) -> list[Row]:
    """What each layer of a running module costs for one input of `input_shape` (without a batch axis).

    One row for each call of a module that has no children or holds parameters of its own, in order of the calls, named
    as in `named_modules`. A module called twice has two rows; parameters count where they are first used, so that the
    column adds up to the model's total, modules that are never called making the last rows. An output that lives
    in the memory of the input or of an earlier row (views, in-place layers, dropout at test time) stores nothing: 0
    activations. Multiply-adds are those of convolutions and linear layers; what `forward` computes without a module
    (`torch.cat`, `x @ y`, `F.conv2d`) makes no row. The model runs once, in `eval()` and without gradients, on zeros
    on the device of its parameters; on the device "meta" that costs neither time nor memory.
    """
    names = {module: name or type(module).__name__ for name, module in model.named_modules()}
    rows: list[Row] = []
    counted: set[nn.Parameter] = set()
    alive: list[Tensor] = []  # a storage that is freed could lend its identity to the next

    def own_parameters(module: nn.Module) -> tuple[int, int]:
        fresh = set(module.parameters(recurse=False)) - counted
        counted.update(fresh)
        return sum(p.numel() for p in fresh if p.ndim > 1), sum(p.numel() for p in fresh)

    def record(module: nn.Module, inputs: tuple, output: Any) -> None:
        known = {storage(t) for t in alive} | {storage(t) for t in tensors(inputs)}
        outputs = tensors(output)
        activations = sum(t.numel() for t in outputs if storage(t) not in known)
        alive.extend(outputs)
        weights, parameters = own_parameters(module)
        cost = own_multiply_adds(module, inputs, outputs[0])
        rows.append(Row(names[module], tuple(outputs[0].shape[1:]), weights, parameters, activations, cost))

    watched = [m for m in model.modules() if not list(m.children()) or list(m.parameters(recurse=False))]
    handles = [module.register_forward_hook(record) for module in watched]
    training = {module: module.training for module in model.modules()}
    example = next(model.parameters(), torch.zeros(()))
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape, device=example.device, dtype=example.dtype))
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    for module in watched:
        weights, parameters = own_parameters(module)
        if parameters:
            rows.append(Row(f"{names[module]} (never called)", (), weights, parameters, 0, 0))
    return rows


def own_multiply_adds(module: nn.Module, inputs: tuple, output: Tensor) -> int:
    """Those of one convolution or linear layer for one image; 0 for any other module."""
    if isinstance(module, nn.Linear):
        return module.in_features * output[0].numel()
    if isinstance(module, _ConvNd):
        places = inputs[0] if isinstance(module, _ConvTransposeNd) else output
        channels = module.in_channels, module.out_channels
        return conv_multiply_adds(*channels, module.kernel_size, tuple(places.shape[2:]), module.groups)
    return 0


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
