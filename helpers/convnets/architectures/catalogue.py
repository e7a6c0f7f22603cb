"""Every builder of the zoo in one table: what it is, what it costs, and
what its paper reported."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from helpers.convnets.architectures import (
    alexnet,
    densenet,
    fractalnet,
    googlenet,
    highway,
    inception,
    inception_resnet,
    lenet,
    mobilenet,
    nasnet,
    network_in_network,
    preactivation,
    resnet,
    squeezenet,
    vgg,
    zfnet,
)
from helpers.convnets.output_size import layer_table
from helpers.training import evaluation_mode


class Error(NamedTuple):
    """An error in percent, and what exactly was measured."""

    percent: float
    what: str


class Entry(NamedTuple):
    """A builder and its figures.

    `layers` counts those with weights (convolutions and linear layers)
    on the longest path from image to logits. `parameters` includes
    auxiliary heads; `multiply_adds` are those of one image of
    `channels` x `image` x `image` at test time, where such heads rest.
    """

    builder: Callable[..., nn.Module]
    paper: str  # a key of book/references.bib
    year: int
    layers: int
    image: int  # pixels on a side
    parameters: int
    multiply_adds: int
    top5: Error | None = None
    top1: Error | None = None
    channels: int = 3
    small: bool = False


def measured(entry: Entry) -> tuple[int, int, int]:
    """Layers, parameters and multiply-adds of the network as built.

    It is built and run on the device "meta": no memory, no time.
    """
    shape = (entry.channels, entry.image, entry.image)
    with torch.device("meta"):
        network = entry.builder()
    rows = layer_table(network, shape)
    return (
        weighted_layers(network, shape),
        sum(row.parameters for row in rows),
        sum(row.multiply_adds for row in rows),
    )


def weighted_layers(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Convolutions and linear layers on the longest path to the logits.

    The paths are those of autograd's graph of one forward pass.
    """
    device = next(network.parameters()).device
    image = torch.zeros(2, *shape, device=device, requires_grad=True)
    made = set()  # the nodes of the graph that such layers make
    handles = [
        m.register_forward_hook(lambda m, x, y: made.add(y.grad_fn))
        for m in network.modules()
        if isinstance(m, nn.Linear | _ConvNd)
    ]
    try:
        with evaluation_mode(network), torch.enable_grad():
            logits = network(image)
    finally:
        for handle in handles:
            handle.remove()
    longest: dict = {}
    waiting = [logits.grad_fn]
    while waiting:
        node = waiting[-1]
        before = [f for f, _ in node.next_functions if f is not None]
        unknown = [f for f in before if f not in longest]
        if unknown:
            waiting += unknown
            continue
        own = node in made
        longest[node] = own + max((longest[f] for f in before), default=0)
        waiting.pop()
    return longest[logits.grad_fn]


ONE = "ImageNet val, one net, one crop"
TEN = "ImageNet val, one net, ten crops"
DENSE = "ImageNet val, one net, one scale, dense"
CIFAR = "CIFAR-10 test, one net"

# fmt: off
ENTRIES = (
    Entry(
        lenet.lenet5, "lecun1998", 1998, 4, 32,
        60_000, 325_680,
        top1=Error(0.95, "MNIST test, one net"),
        channels=1,
    ),
    Entry(
        lenet.lenet_small, "lecun1998", 1998, 5, 32,
        62_006, 651_720,
        small=True,
    ),
    Entry(
        alexnet.alexnet_2012, "krizhevsky2012", 2012, 8, 227,
        60_965_224, 724_406_816,
        top5=Error(18.2, TEN),
        top1=Error(40.7, TEN),
    ),
    Entry(
        alexnet.alexnet_course, "cs231n", 2016, 8, 227,
        62_378_344, 1_135_256_096,
    ),
    Entry(
        alexnet.alexnet, "krizhevsky2014", 2014, 8, 224,
        61_100_840, 714_188_480,
    ),
    Entry(
        alexnet.alexnet_small, "krizhevsky2012", 2012, 8, 32,
        96_874, 6_513_664,
        small=True,
    ),
    Entry(
        zfnet.zfnet, "zeiler2014", 2014, 8, 224,
        62_357_608, 1_168_032_896,
        top5=Error(16.5, TEN),
        top1=Error(38.4, TEN),
    ),
    Entry(
        zfnet.zfnet_small, "zeiler2014", 2014, 8, 32,
        96_106, 4_061_440,
        small=True,
    ),
    Entry(
        vgg.vgg11, "simonyan2014", 2014, 11, 224,
        132_863_336, 7_609_090_048,
        top5=Error(10.4, DENSE),
        top1=Error(29.6, DENSE),
    ),
    Entry(
        vgg.vgg11_bn, "simonyan2014", 2014, 11, 224,
        132_868_840, 7_609_090_048,
    ),
    Entry(
        vgg.vgg13, "simonyan2014", 2014, 13, 224,
        133_047_848, 11_308_466_176,
        top5=Error(9.9, DENSE),
        top1=Error(28.7, DENSE),
    ),
    Entry(
        vgg.vgg13_bn, "simonyan2014", 2014, 13, 224,
        133_053_736, 11_308_466_176,
    ),
    Entry(
        vgg.vgg16, "simonyan2014", 2014, 16, 224,
        138_357_544, 15_470_264_320,
        top5=Error(8.1, DENSE),
        top1=Error(25.6, DENSE),
    ),
    Entry(
        vgg.vgg16_bn, "simonyan2014", 2014, 16, 224,
        138_365_992, 15_470_264_320,
    ),
    Entry(
        vgg.vgg19, "simonyan2014", 2014, 19, 224,
        143_667_240, 19_632_062_464,
        top5=Error(8.0, DENSE),
        top1=Error(25.5, DENSE),
    ),
    Entry(
        vgg.vgg19_bn, "simonyan2014", 2014, 19, 224,
        143_678_248, 19_632_062_464,
    ),
    Entry(
        vgg.vgg_small, "simonyan2014", 2014, 7, 32,
        111_562, 5_211_392,
        small=True,
    ),
    Entry(
        network_in_network.network_in_network, "lin2014", 2014, 9, 32,
        966_986, 222_486_528,
        top1=Error(8.81, "CIFAR-10 test, augmented"),
    ),
    Entry(
        network_in_network.network_in_network_imagenet, "lin2014", 2014, 12, 224,
        7_595_176, 1_100_188_800,
    ),
    Entry(
        network_in_network.network_in_network_small, "lin2014", 2014, 9, 32,
        27_338, 6_230_016,
        small=True,
    ),
    Entry(
        googlenet.googlenet_2014, "szegedy2015", 2015, 22, 224,
        13_378_280, 1_582_671_872,
        top5=Error(10.07, ONE),
    ),
    Entry(
        googlenet.googlenet, "szegedy2015", 2015, 22, 224,
        13_004_888, 1_498_376_192,
    ),
    Entry(
        googlenet.googlenet_small, "szegedy2015", 2015, 8, 32,
        48_026, 3_597_408,
        small=True,
    ),
    Entry(
        inception.inception_v2, "ioffe2015", 2015, 35, 224,
        11_188_288, 1_934_857_216,
        top5=Error(7.82, ONE),
        top1=Error(25.2, ONE),
    ),
    Entry(
        inception.inception_v3, "szegedy2016", 2016, 48, 299,
        27_161_264, 5_713_216_096,
        top5=Error(5.6, ONE),
        top1=Error(21.2, ONE),
    ),
    Entry(
        inception.inception_small, "szegedy2016", 2016, 8, 32,
        39_018, 6_112_032,
        small=True,
    ),
    Entry(
        inception_resnet.inception_resnet_v2, "szegedy2017", 2017, 176, 299,
        55_843_464, 13_155_794_016,
        top5=Error(4.9, ONE),
        top1=Error(19.9, ONE),
    ),
    Entry(
        inception_resnet.inception_resnet_small, "szegedy2017", 2017, 19, 32,
        98_106, 12_433_344,
        small=True,
    ),
    Entry(
        squeezenet.squeezenet1_0, "iandola2016", 2016, 18, 224,
        1_248_424, 818_924_576,
        top5=Error(19.7, ONE),
        top1=Error(42.5, ONE),
    ),
    Entry(
        squeezenet.squeezenet1_1, "iandola2016", 2016, 18, 224,
        1_235_496, 349_151_936,
    ),
    Entry(
        squeezenet.squeezenet_small, "iandola2016", 2016, 10, 32,
        32_058, 3_319_168,
        small=True,
    ),
    Entry(
        mobilenet.mobilenet_v1, "howard2017", 2017, 28, 224,
        4_231_976, 568_740_352,
        top1=Error(29.4, ONE),
    ),
    Entry(
        mobilenet.mobilenet_v2, "sandler2018", 2018, 53, 224,
        3_504_872, 300_774_272,
        top1=Error(28.0, ONE),
    ),
    Entry(
        mobilenet.mobilenet_small, "howard2017", 2017, 14, 32,
        55_210, 5_715_200,
        small=True,
    ),
    Entry(
        mobilenet.mobilenet_v2_small, "sandler2018", 2018, 17, 32,
        32_522, 5_545_216,
        small=True,
    ),
    Entry(
        nasnet.nasnetalarge, "zoph2018", 2018, 128, 331,
        88_753_150, 23_783_414_658,
        top5=Error(3.8, ONE),
        top1=Error(17.3, ONE),
    ),
    Entry(
        nasnet.nasnet_small, "zoph2018", 2018, 35, 32,
        68_650, 2_801_536,
        small=True,
    ),
)

RESIDUAL = (
    Entry(
        resnet.resnet18, "he2016", 2016, 18, 224,
        11_689_512, 1_814_073_344,
        top1=Error(27.88, TEN),
    ),
    Entry(
        resnet.resnet34, "he2016", 2016, 34, 224,
        21_797_672, 3_663_761_408,
        Error(7.46, TEN), Error(24.52, TEN),
    ),
    Entry(
        resnet.resnet50, "he2016", 2016, 50, 224,
        25_557_032, 4_089_184_256,
        Error(6.71, TEN), Error(22.85, TEN),
    ),
    Entry(
        resnet.resnet101, "he2016", 2016, 101, 224,
        44_549_160, 7_801_405_440,
        Error(6.05, TEN), Error(21.75, TEN),
    ),
    Entry(
        resnet.resnet152, "he2016", 2016, 152, 224,
        60_192_808, 11_513_626_624,
        Error(5.71, TEN), Error(21.43, TEN),
    ),
    Entry(
        resnet.resnext50_32x4d, "xie2017", 2017, 50, 224,
        25_028_904, 4_230_479_872,
        top1=Error(22.2, ONE),
    ),
    Entry(
        resnet.resnext101_32x8d, "xie2017", 2017, 101, 224,
        88_791_336, 16_414_015_488,
    ),
    Entry(
        resnet.resnext101_64x4d, "xie2017", 2017, 101, 224,
        83_455_272, 15_460_270_080,
        Error(5.3, ONE), Error(20.4, ONE),
    ),
    Entry(
        resnet.wide_resnet50_2, "zagoruyko2016", 2016, 50, 224,
        68_883_240, 11_398_021_120,
        Error(6.03, ONE), Error(21.9, ONE),
    ),
    Entry(
        resnet.wide_resnet101_2, "zagoruyko2016", 2016, 101, 224,
        126_886_696, 22_753_050_624,
    ),
    Entry(
        resnet.resnet_small, "he2016", 2016, 20, 32,
        269_722, 40_551_040,
        top1=Error(8.75, CIFAR), small=True,
    ),
    Entry(
        preactivation.resnetv2_50, "he2016identity", 2016, 50, 224,
        25_549_352, 4_089_184_256,
    ),
    Entry(
        preactivation.resnetv2_101, "he2016identity", 2016, 101, 224,
        44_541_480, 7_801_405_440,
    ),
    Entry(
        preactivation.preactivation_small, "he2016identity", 2016, 20, 32,
        272_282, 40_813_184,
        small=True,
    ),
    Entry(
        preactivation.wrn_16_8, "zagoruyko2016", 2016, 14, 32,
        10_961_370, 1_548_145_664,
    ),
    Entry(
        preactivation.wide_resnet, "zagoruyko2016", 2016, 26, 32,
        36_479_194, 5_243_328_768,
    ),
    Entry(
        preactivation.wrn_small, "zagoruyko2016", 2016, 8, 32,
        303_706, 44_483_840,
        small=True,
    ),
    Entry(
        highway.highway_mlp, "srivastava2015", 2015, 20, 32,
        245_960, 244_100,
        small=True,
    ),
    Entry(
        highway.highway_small, "srivastava2015training", 2015, 11, 32,
        42_378, 19_021_984,
        small=True,
    ),
    Entry(
        densenet.densenet121, "huang2017", 2017, 121, 224,
        7_978_856, 2_834_161_664,
        Error(7.71, ONE), Error(25.02, ONE),
    ),
    Entry(
        densenet.densenet161, "huang2017", 2017, 161, 224,
        28_681_000, 7_727_907_072,
    ),
    Entry(
        densenet.densenet169, "huang2017", 2017, 169, 224,
        14_149_480, 3_359_843_328,
        Error(6.85, ONE), Error(23.8, ONE),
    ),
    Entry(
        densenet.densenet201, "huang2017", 2017, 201, 224,
        20_013_928, 4_291_365_888,
        Error(6.34, ONE), Error(22.58, ONE),
    ),
    Entry(
        densenet.densenet_small, "huang2017", 2017, 22, 32,
        71_686, 31_238_322,
        small=True,
    ),
    Entry(
        fractalnet.fractalnet20, "larsson2017", 2017, 21, 32,
        33_724_618, 845_222_912,
    ),
    Entry(
        fractalnet.fractalnet_small, "larsson2017", 2017, 13, 32,
        150_382, 20_902_368,
        small=True,
    ),
)
# fmt: on
CATALOGUE: dict[str, Entry] = {
    e.builder.__name__: e for e in (*ENTRIES, *RESIDUAL)
}
