"""A net out of a text: `net_from_prototxt` builds what Caffe's format describes as an `nn.Module` (Jia et al. 2014)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.foundations.frameworks.prototxt import Field, Message, PrototxtError, check, parse

FILLER = {"type": str, "value": float, "mean": float, "std": float, "min": float, "max": float}
SHAPE = {"dim": [int]}
LAYER: dict[str, Any] = {
    "name": str,
    "type": str,
    "bottom": [str],
    "top": [str],
    "include": [{"phase": ("TRAIN", "TEST")}],
    "param": [{"lr_mult": float, "decay_mult": float}],
    "convolution_param": {
        "num_output": int, "kernel_size": int, "stride": int, "pad": int, "dilation": int, "group": int, "bias_term": bool,
        "weight_filler": FILLER, "bias_filler": FILLER,
    },
    "pooling_param": {
        "pool": ("MAX", "AVE"), "kernel_size": int, "stride": int, "pad": int, "global_pooling": bool,
    },
    "inner_product_param": {"num_output": int, "bias_term": bool, "weight_filler": FILLER, "bias_filler": FILLER},
    "lrn_param": {"local_size": int, "alpha": float, "beta": float, "k": float},
    "dropout_param": {"dropout_ratio": float},
    "relu_param": {"negative_slope": float},
    "concat_param": {"axis": int},
    "eltwise_param": {"operation": ("PROD", "SUM", "MAX")},
    "input_param": {"shape": [SHAPE]},
    "hdf5_data_param": {"source": str, "batch_size": int},
    "data_param": {"source": str, "batch_size": int, "backend": ("LEVELDB", "LMDB")},
    "transform_param": {"scale": float},
}
NET = {"name": str, "layer": [LAYER], "input": [str], "input_shape": [SHAPE], "input_dim": [int]}


class InnerProduct(nn.Linear):
    """A linear layer on all that one sample holds."""

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        return super().forward(x.flatten(1))


class Concat(nn.Module):
    """Tensors side by side."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, *parts: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.cat(parts, self.axis)


class Eltwise(nn.Module):
    """Tensors of one shape added, multiplied, or their largest entries."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, *parts: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        stack = torch.stack(parts)
        return {"SUM": stack.sum, "PROD": stack.prod, "MAX": stack.amax}[self.operation](0)


class SoftmaxWithLoss(nn.Module):
    """The mean cross-entropy of scores and labels."""

    def forward(self, scores: Float[Tensor, "b k"], labels: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        return nn.functional.cross_entropy(scores, labels)


class Accuracy(nn.Module):
    """The share of samples whose largest score is that of the label."""

    def forward(self, scores: Float[Tensor, "b k"], labels: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        return (scores.argmax(1) == labels).float().mean()


# -- from a layer's message to a module --------------------------------------------------------------------------------


def convolution(layer: Message, channels: int) -> nn.Module:
    """A convolution, in groups where the text says so."""
    p = settings(layer, "convolution_param", "num_output", "kernel_size")
    numbers = {"stride": p.get("stride", 1), "padding": p.get("pad", 0), "dilation": p.get("dilation", 1)}
    bias = p.get("bias_term", "true") == "true"
    group, outputs = p.get("group", 1), p.get("num_output")
    for name, count in (("num_output", outputs), ("channels of its bottom", channels)):
        if group < 1 or count % group:
            refuse(layer, f"group = {group} does not divide {name} = {count}")
    return nn.Conv2d(channels, outputs, p.get("kernel_size"), groups=group, bias=bias, **numbers)


def pooling(layer: Message, channels: int) -> nn.Module:
    """Pooling whose last window may reach over the edge, as in Caffe (`ceil_mode`)."""
    p = settings(layer, "pooling_param")
    average = p.get("pool", "MAX") == "AVE"
    if p.get("global_pooling", "false") == "true":
        return nn.AdaptiveAvgPool2d(1) if average else nn.AdaptiveMaxPool2d(1)
    settings(layer, "pooling_param", "kernel_size")
    numbers = {"stride": p.get("stride", 1), "padding": p.get("pad", 0), "ceil_mode": True}
    return (nn.AvgPool2d if average else nn.MaxPool2d)(p.get("kernel_size"), **numbers)


def inner_product(layer: Message, size: int) -> nn.Module:
    """A linear layer; `size` counts what one sample holds."""
    p = settings(layer, "inner_product_param", "num_output")
    return InnerProduct(size, p.get("num_output"), bias=p.get("bias_term", "true") == "true")


def relu(layer: Message, channels: int) -> nn.Module:
    slope = settings(layer, "relu_param").get("negative_slope", 0)
    return nn.LeakyReLU(slope) if slope else nn.ReLU()


def lrn(layer: Message, channels: int) -> nn.Module:
    p = settings(layer, "lrn_param")
    return nn.LocalResponseNorm(p.get("local_size", 5), p.get("alpha", 1.0), p.get("beta", 0.75), p.get("k", 1.0))


def dropout(layer: Message, channels: int) -> nn.Module:
    return nn.Dropout(settings(layer, "dropout_param").get("dropout_ratio", 0.5))


def concat(layer: Message, channels: int) -> nn.Module:
    return Concat(settings(layer, "concat_param").get("axis", 1))


def eltwise(layer: Message, channels: int) -> nn.Module:
    return Eltwise(settings(layer, "eltwise_param").get("operation", "SUM"))


def plain(module: Callable[[], nn.Module]) -> Callable[[Message, int], nn.Module]:
    """A builder for a layer without settings."""
    return lambda layer, channels: module()


BUILDERS = {
    "Convolution": convolution,
    "Pooling": pooling,
    "InnerProduct": inner_product,
    "ReLU": relu,
    "LRN": lrn,
    "Dropout": dropout,
    "Concat": concat,
    "Eltwise": eltwise,
    "Sigmoid": plain(nn.Sigmoid),
    "TanH": plain(nn.Tanh),
    "Softmax": plain(lambda: nn.Softmax(dim=1)),
    "SoftmaxWithLoss": plain(SoftmaxWithLoss),
    "Accuracy": plain(Accuracy),
}
FILES = {"HDF5Data": "hdf5_data_param", "Data": "data_param"}  # layers that read a file, and where their text says which
SOURCES = ("Input", *FILES)
SETTINGS = {  # what each type reads, of the fields that end with _param
    "Input": ("input_param",), "HDF5Data": ("hdf5_data_param",), "Data": ("data_param", "transform_param"),
    "Convolution": ("convolution_param",), "Pooling": ("pooling_param",), "InnerProduct": ("inner_product_param",),
    "ReLU": ("relu_param",), "LRN": ("lrn_param",), "Dropout": ("dropout_param",), "Concat": ("concat_param",),
    "Eltwise": ("eltwise_param",),
}  # fmt: skip


class CaffeNet(nn.Module):
    """Layers that read and write named blobs, in the order of the text.

    `steps` holds (layer, bottoms, top), `shapes` the shape of every layer's
    result, `sources` the layers that read files, `multipliers` for each parameter
    those of the learning rate and of the weight decay.
    """

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.layers = nn.ModuleDict()
        self.steps, self.inputs, self.sources = [], [], []
        self.shapes, self.kinds, self.multipliers = {}, {}, {}

    def blobs(self, *inputs):
        """Every blob by name; layers whose bottoms are missing rest."""
        known = dict(zip(self.inputs, inputs))
        for name, bottoms, top in self.steps:
            if all(bottom in known for bottom in bottoms):
                values = [known[bottom] for bottom in bottoms]
                result = self.layers[name](*values)
                known.pop(top, None)  # a layer may overwrite its bottom
                known[top] = result
        return known

    def forward(self, *inputs):
        """The last blob that these inputs determine, data alone or more."""
        return list(self.blobs(*inputs).values())[-1]

    def table(self) -> list[list[Any]]:
        """Name, type, shape of the result without the batch, and parameters of every layer."""
        rows = []
        for name, layer in self.layers.items():
            count = sum(p.numel() for p in layer.parameters())
            rows.append([name, self.kinds[name], " x ".join(map(str, self.shapes[name][1:])), count])
        return rows


def net_from_prototxt(
    text: str,
    *,
    phase: str = "TEST",
    shape: tuple[int, ...] | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> CaffeNet:
    """Build the net that `text` describes, its weights drawn by its fillers from `generator`.

    `phase` chooses among layers that `include` one. `shape` is that of one sample, as (1, 28, 28), for a net whose data come
    from a file and not from an Input layer. On `device` "meta" nothing is allocated: counts and shapes only. Raises
    `PrototxtError`, with line and column, for a text that is broken, an unknown type or field, a blob that nobody has made
    yet and a shape that does not fit.
    """
    if phase not in ("TRAIN", "TEST"):
        raise ValueError(f"phase = {phase!r}: TRAIN or TEST")
    message = parse(text)
    check(message, NET, "the net")
    net = CaffeNet(message.get("name", ""))
    known: dict[str, Tensor] = {}  # blobs without data: shapes alone
    chosen = [f for f in message.fields if f.name == "layer" and included(f.value, phase)]
    dims = [dims.all("dim") for dims in message.all("input_shape")]
    if four := message.all("input_dim"):  # the older form: four numbers for each input
        dims = [four[i : i + 4] for i in range(0, len(four), 4)]
    if len(dims) != len(message.all("input")) or len(four) % 4:
        place = message.field("input_dim" if four else "input_shape" if dims else "input")
        said = f"{len(four)} input_dim, four for each" if four else f"{len(dims)} input_shape, one for each"
        complaint = f"{len(message.all('input'))} inputs and {said}: they do not agree"
        raise PrototxtError(complaint, place.line, place.column)
    for name, shape_of_input in zip(message.all("input"), dims):
        known[name] = torch.empty(shape_of_input, device="meta")
        net.inputs.append(name)
    for entry in chosen:
        add_layer(net, entry, known, shape, chosen)
    if not net.layers:
        raise PrototxtError(f"the net has no layer in the phase {phase}", 1, 1)
    net.to_empty(device=device)
    for entry in chosen:
        fill(net, entry.value, generator)
    return net.train(phase == "TRAIN")


def included(layer: Message, phase: str) -> bool:
    """Whether a layer belongs to the phase: it does when it names none."""
    phases = [rule.get("phase") for rule in layer.all("include")]
    return not phases or phase in phases


def add_layer(net: CaffeNet, entry: Field, known: dict[str, Tensor], shape: Any, chosen: list[Field]) -> None:
    """Build one layer and find the shape of its result."""
    layer, kind = entry.value, entry.value.get("type")
    for need in ("name", "type", "top"):
        if need not in layer:
            raise PrototxtError(f"this layer has no {need}", entry.line, entry.column)
    name, tops, bottoms = layer.get("name").replace(".", "_"), layer.all("top"), layer.all("bottom")
    for place in (f for f in layer.fields if f.name.endswith("_param") and f.name not in SETTINGS.get(kind, ())):
        if kind in SOURCES or kind in BUILDERS:
            reads = " and ".join(SETTINGS.get(kind, ())) or "no settings"
            raise PrototxtError(f"a layer of type {kind} reads {reads}, not {place.name}", place.line, place.column)
    if kind in SOURCES:
        return add_source(net, entry, known, shape)
    if kind not in BUILDERS:
        place = layer.field("type")
        raise PrototxtError(f"type {kind!r}: known are {', '.join([*SOURCES, *BUILDERS])}", place.line, place.column)
    if name in net.layers:
        refuse(layer, f"a second layer {name!r} in one phase: names are unique", "name")
    for place in (f for f in layer.fields if f.name == "bottom" and f.value not in known):
        later = any(place.value in other.value.all("top") for other in chosen)
        why = "only a later layer, or this one, makes it: a net has no cycle" if later else "no layer makes it"
        raise PrototxtError(f"layer {name!r} reads {place.value!r}, and {why}", place.line, place.column)
    if not bottoms:
        refuse(layer, f"layer {name!r} reads no blob: give it a bottom", "name")
    if len(tops) > 1:
        refuse(layer, f"layer {name!r} has {len(tops)} tops: a {kind} layer has one", "name")
    first = known[bottoms[0]]
    try:
        size = math.prod(first.shape[1:]) if kind == "InnerProduct" else first.shape[1]
        with torch.device("meta"):
            module = BUILDERS[kind](layer, size)
            known[tops[0]] = module.eval()(*(known[bottom] for bottom in bottoms))
    except PrototxtError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shapes = ", ".join(f"{bottom} {list(known[bottom].shape)}" for bottom in bottoms)
        refuse(layer, f"layer {name!r} of type {kind} does not fit {shapes}: {str(error).splitlines()[0]}", "name")
    if not known[tops[0]].numel():
        refuse(layer, f"layer {name!r}: nothing is left of {list(first.shape)}", "name")
    if hasattr(net.layers, name):
        refuse(layer, f"torch needs the name {name!r} for itself: choose another", "name")
    net.layers[name] = module
    net.shapes[name], net.kinds[name] = tuple(known[tops[0]].shape), kind
    net.steps.append((name, bottoms, tops[0]))
    rates = [(p.get("lr_mult", 1.0), p.get("decay_mult", 1.0)) for p in layer.all("param")]
    names = [f"layers.{name}.{parameter}" for parameter, _ in module.named_parameters()]
    if len(rates) > len(names):
        refuse(layer, f"layer {name!r} has {len(rates)} param for {len(names)} parameters", "param")
    net.multipliers.update(zip(names, rates + [(1.0, 1.0)] * len(names)))


def add_source(net: CaffeNet, entry: Field, known: dict[str, Tensor], shape: Any) -> None:
    """Blobs that come from outside: an Input layer's shapes, or a file's data and labels."""
    layer, tops = entry.value, entry.value.all("top")
    if layer.get("type") == "Input":
        shapes = [s.all("dim") for s in settings(layer, "input_param", "shape").all("shape")]
        if len(shapes) not in (1, len(tops)):
            refuse(layer, f"{len(shapes)} shapes for {len(tops)} tops: one for each", "input_param")
        shapes = shapes * len(tops) if len(shapes) == 1 else shapes
        blobs = [torch.empty(s, device="meta") for s in shapes]
    else:
        if shape is None:
            refuse(layer, "the file gives the shape of the data: pass shape=, as (1, 28, 28), or give an Input layer", "type")
        param = FILES[layer.get("type")]
        batch = settings(layer, param, "source", "batch_size").get("batch_size")
        if batch < 1:
            refuse(layer.get(param), f"batch_size = {batch}: at least 1", "batch_size")
        labels = torch.empty(batch, dtype=torch.long, device="meta")
        blobs = [torch.empty((batch, *shape), device="meta"), *[labels] * (len(tops) - 1)]
        net.sources.append(layer)
    known.update(zip(tops, blobs))
    net.inputs += tops


def fill(net: CaffeNet, layer: Message, generator: torch.Generator | None) -> None:
    """Draw the weights of one layer as its fillers say; without a filler they are 0, as in Caffe."""
    name = layer.get("name").replace(".", "_")
    p = layer.get("convolution_param") or layer.get("inner_product_param")
    if p is None or name not in net.layers:
        return
    for parameter, kind in (("weight", "weight_filler"), ("bias", "bias_filler")):
        tensor = getattr(net.layers[name], parameter)
        if tensor is None or tensor.is_meta:
            continue
        filler = p.get(kind, Message())
        how = filler.get("type", "constant")
        with torch.no_grad():
            if how == "constant":
                tensor.fill_(filler.get("value", 0.0))
            elif how == "gaussian":
                tensor.normal_(filler.get("mean", 0.0), filler.get("std", 1.0), generator=generator)
            elif how == "uniform":
                tensor.uniform_(filler.get("min", 0.0), filler.get("max", 1.0), generator=generator)
            elif how == "xavier":  # Caffe's: by the inputs of a unit alone
                reach = math.sqrt(3 / tensor[0].numel())
                tensor.uniform_(-reach, reach, generator=generator)
            else:
                refuse(filler, f"filler {how!r}: known are constant, gaussian, uniform, xavier", "type")


def settings(layer: Message, name: str, *needed: str) -> Message:
    """A layer's own settings. Raises `PrototxtError` where one that is needed is missing."""
    found = layer.get(name, Message())
    for need in needed:
        if need not in found:
            refuse(layer, f"layer {layer.get('name')!r} needs {name} {{ {need}: … }}", name if name in layer else "type")
    return found


def refuse(message: Message, why: str, name: str | None = None) -> None:
    """Raise a `PrototxtError` at a field of a message, by default the first."""
    place = message.field(name) if name else message.fields[0]
    raise PrototxtError(why, place.line, place.column)
