"""What joins the two pathways of SlowFast
(Feichtenhofer et al. 2019, arXiv:1812.03982, section 3.4).

Names of parameters are pytorchvideo's."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from helpers.video.optical_flow.checks import check_axes

LATERALS = ("convolution", "time-to-channel", "sampling")


def pathways(
    videos: Float[Tensor, "b f c h w"], alpha: int
) -> tuple[Float[Tensor, "b c s h w"], Float[Tensor, "b c f h w"]]:
    """The frames of the slow pathway, every `alpha`-th or so, and all.

    The slow ones are spread from the first frame to the last, as the
    published weights expect. Raises `ValueError` for other axes, and for a
    number of frames that `alpha` does not divide.
    """
    check_axes(videos, "b f c h w", "videos")
    fast = videos.transpose(1, 2)
    places = slow_places(videos.shape[1], alpha).to(videos.device)
    return fast[:, :, places], fast


def slow_places(frames: int, alpha: int) -> Int[Tensor, " s"]:
    """Which frames of a clip the slow pathway sees."""
    if alpha < 1 or frames < alpha or frames % alpha:
        raise ValueError(
            f"clips of {frames} frames, alpha = {alpha}: give a multiple of "
            f"alpha, such as {max(1, round(frames / max(1, alpha))) * alpha}"
        )
    return torch.linspace(0, frames - 1, frames // alpha).long()


class Lateral(nn.Module):
    """What the fast pathway tells the slow one (section 3.4), put beside it.

    "time-to-channel" packs `alpha` frames into the channels of one;
    "sampling" takes every `alpha`-th frame; "convolution" looks `kernel`
    frames wide in steps of `alpha` and doubles the channels. Raises
    `ValueError` for other kinds, and for an even `kernel`, which would
    leave a frame too many.
    """

    def __init__(
        self, channels: int, *, kind: str, alpha: int, kernel: int
    ) -> None:
        super().__init__()
        if kind not in LATERALS:
            raise ValueError(
                f"lateral = {kind!r}: choose {', '.join(LATERALS)}"
            )
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"kernel = {kernel}: an odd number of frames, which has one "
                "in the middle"
            )
        self.kind, self.alpha = kind, alpha
        factor = {"convolution": 2, "time-to-channel": alpha, "sampling": 1}
        self.outputs = factor[kind] * channels
        if kind == "convolution":
            self.conv_fast_to_slow = nn.Conv3d(
                channels,
                self.outputs,
                (kernel, 1, 1),
                (alpha, 1, 1),
                (kernel // 2, 0, 0),
                bias=False,
            )
            self.norm = nn.BatchNorm3d(self.outputs)
            self.activation = nn.ReLU()

    def told(
        self, fast: Float[Tensor, "b c f h w"]
    ) -> Float[Tensor, "b o s h w"]:
        if self.kind == "sampling":
            return fast[:, :, :: self.alpha]
        if self.kind == "time-to-channel":
            packed = fast.unflatten(2, (-1, self.alpha))  # [b c s α h w]
            return packed.transpose(2, 3).flatten(1, 2)
        return self.activation(self.norm(self.conv_fast_to_slow(fast)))

    def forward(
        self,
        slow: Float[Tensor, "b c s h w"],
        fast: Float[Tensor, "b e f h w"],
    ) -> Float[Tensor, "b o s h w"]:
        return torch.cat([slow, self.told(fast)], 1)
