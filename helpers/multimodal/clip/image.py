"""CLIP's two kinds of image encoder: a ResNet with three changes, and a Vision Transformer with as many
(Radford et al. 2021, arXiv:2103.00020, section 2.4). The ResNet's parameters have the names of the released files."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from helpers.convnets.architectures.resnet import Bottleneck
from helpers.transformers.attention import EncoderBlock, Stack, attend
from helpers.transformers.attention.multihead import check_shares
from helpers.transformers.vision_transformers.image_gpt import quick_gelu
from helpers.transformers.vision_transformers.vit import check_patch


class PooledBottleneck(Bottleneck):
    """The bottleneck of a ResNet, in which means do what strides did.

    A convolution of stride 2 looks at one place in four and aliases; here
    all convolutions have stride 1, and a mean over `stride` by `stride`
    pixels follows, on the branch and on the shortcut (Zhang 2019,
    arXiv:1904.11486).
    """

    def __init__(self, inputs: int, planes: int, *, stride: int) -> None:
        super().__init__(inputs, planes, stride=1, norm=nn.BatchNorm2d)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        outputs = planes * self.expansion
        if stride > 1 or inputs != outputs:
            steps = [
                ("-1", nn.AvgPool2d(stride)),
                ("0", nn.Conv2d(inputs, outputs, 1, bias=False)),
                ("1", nn.BatchNorm2d(outputs)),
            ]
            self.downsample = nn.Sequential(OrderedDict(steps))

    def branch(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b o p q"]:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.pool(self.relu(self.bn2(self.conv2(x))))
        return self.bn3(self.conv3(x))


class AttentionPool(nn.Module):
    """One look of the image's mean at all its places, in many heads.

    It takes the place of the mean itself: the query is the mean, keys and
    values are the places and the mean, all with positions added.
    """

    def __init__(
        self, *, side: int, dim: int, heads: int, features: int
    ) -> None:
        super().__init__()
        check_shares(dim, heads)
        self.heads = heads
        table = torch.randn(1 + side**2, dim) * dim**-0.5
        self.positional_embedding = nn.Parameter(table)
        self.k_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.c_proj = nn.Linear(dim, features)
        for layer in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=dim**-0.5)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        x = x.flatten(2).transpose(1, 2)  # [b t c]
        x = torch.cat([x.mean(1, keepdim=True), x], 1)
        x = x + self.positional_embedding
        parts = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in parts
        )
        return self.c_proj(attend(q, k, v).flatten(1))


class ModifiedResNet(nn.Module):
    """A stem of three convolutions, pooled bottlenecks, attention pooling.

    `depths` counts the blocks of each stage, `width` the channels of the
    stem; each stage but the first halves the side and doubles the width,
    and the stem divides the side by 4, by the one convolution of stride 2
    and by a mean. Images have `image` pixels on a side; `features` is the
    width of what comes out. Raises `ValueError` for a side that the
    stages cannot divide, for no stage or an odd width, and for images of
    another side.
    """

    def __init__(
        self,
        depths: Sequence[int],
        *,
        width: int,
        heads: int,
        features: int,
        image: int = 224,
    ) -> None:
        super().__init__()
        if not depths or min(depths) < 1 or width < 2 or width % 2:
            raise ValueError(
                f"depths = {tuple(depths)}, width = {width}: at least 1 "
                "stage, 1 block in each, and an even width"
            )
        shrink = 4 * 2 ** (len(depths) - 1)
        if image < shrink or image % shrink:
            raise ValueError(
                f"image = {image}: {len(depths)} stages divide the side by "
                f"{shrink}, so give a multiple of {shrink}"
            )
        self.image, self.depths = image, tuple(depths)
        half = width // 2
        self.conv1 = nn.Conv2d(3, half, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu, self.avgpool = nn.ReLU(inplace=True), nn.AvgPool2d(2)
        inputs = width
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                stride = 2 if i and not j else 1
                planes = width * 2**i
                blocks.append(PooledBottleneck(inputs, planes, stride=stride))
                inputs = planes * PooledBottleneck.expansion
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.attnpool = AttentionPool(
            side=image // shrink, dim=inputs, heads=heads, features=features
        )
        for module in self.modules():
            if isinstance(module, PooledBottleneck):  # begins as identity
                nn.init.zeros_(module.last_norm.weight)

    def maps(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b c p q"]:
        """What the last stage says of each place."""
        check_image(images, self.image)
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(self.relu(self.bn3(self.conv3(x))))
        for i in range(len(self.depths)):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return x

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b d"]:
        return self.attnpool(self.maps(images))


class VisionTransformer(nn.Module):
    """The Vision Transformer as CLIP has it.

    Against the original: patches without a bias, one more norm before the
    blocks, the quick GELU, and a projection without a bias of the class
    token to `features`. Raises `ValueError` for a patch that does not
    divide the image, and for images of another size.
    """

    def __init__(
        self,
        *,
        image: int = 224,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        features: int,
    ) -> None:
        super().__init__()
        check_patch(image, patch)
        self.image, self.patch = image, patch
        std, tokens = dim**-0.5, 1 + (image // patch) ** 2
        self.conv1 = nn.Conv2d(3, dim, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(std * torch.randn(dim))
        self.positional_embedding = nn.Parameter(
            std * torch.randn(tokens, dim)
        )
        self.ln_pre, self.ln_post = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.transformer = residual_stack(dim=dim, depth=depth, heads=heads)
        self.proj = nn.Parameter(std * torch.randn(dim, features))

    def tokens(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b t e"]:
        """What the blocks say of the class token and of each patch."""
        check_image(images, self.image)
        x = self.conv1(images).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(x), 1, -1)
        x = torch.cat([first.to(x.dtype), x], 1) + self.positional_embedding
        return self.transformer(self.ln_pre(x))

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b d"]:
        return self.ln_post(self.tokens(images)[:, 0]) @ self.proj


def residual_stack(*, dim: int, depth: int, heads: int) -> Stack:
    """The blocks that both of CLIP's transformers are made of.

    The house's pre-norm blocks with the quick GELU. First weights are the
    authors': what adds to the residual path is smaller the deeper it is.
    """
    sizes = dict(dim=dim, heads=heads, hidden=4 * dim, activation=quick_gelu)
    stack = Stack([EncoderBlock(**sizes) for _ in range(depth)], None)
    for block in stack.layers:
        attention, inner = block.self_attn, dim**-0.5
        nn.init.normal_(attention.in_proj_weight, std=inner)
        nn.init.normal_(block.linear1.weight, std=(2 * dim) ** -0.5)
        for layer in (attention.out_proj, block.linear2):
            nn.init.normal_(layer.weight, std=inner * (2 * depth) ** -0.5)
    return stack


def check_image(images, side):
    """Refuse images of another size than the encoder was built for."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images of {tuple(images.shape)}: [images, 3, h, w]; one image "
            "is images[None]"
        )
    if not images.is_floating_point():
        raise ValueError(
            f"images of {images.dtype}: numbers in 0 … 1, as images / 255"
        )
    if images.shape[2:] != (side, side):
        h, w = images.shape[2:]
        raise ValueError(
            f"images of {h}x{w} pixels in an encoder for {side}x{side}: "
            "resize them, or build the encoder for that size (image=…)"
        )
