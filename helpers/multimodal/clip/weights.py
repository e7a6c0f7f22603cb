"""Released weights under the names of this chapter: OpenAI's own files, and those of transformers' `CLIPModel`."""

import re

import torch
from torch import Tensor

# Pairs of a pattern and its replacement, tried in this order.
OPENAI = (
    (r"^visual\.", "image."),
    (r"^(?=token_embedding|positional_|ln_final|transformer)", "text."),
    (r"^text_projection$", "text.projection"),
    (r"\.resblocks\.", ".layers."),
    (r"(\.layers\.\d+)\.attn\.", r"\1.self_attn."),
    (r"(\.layers\.\d+)\.ln_([12])\.", r"\1.norm\2."),
    (r"(\.layers\.\d+)\.mlp\.c_fc\.", r"\1.linear1."),
    (r"(\.layers\.\d+)\.mlp\.c_proj\.", r"\1.linear2."),
)
TRANSFORMERS = (
    (r"^visual_projection\.weight$", "image.proj"),
    (r"^text_projection\.weight$", "text.projection"),
    (r"^vision_model\.", "image."),
    (r"^text_model\.", "text."),
    (r"^image\.embeddings\.patch_embedding\.", "image.conv1."),
    (r"\.embeddings\.position_embedding\.weight", ".positional_embedding"),
    (r"\.embeddings\.", "."),
    (r"\.pre_layrnorm\.", ".ln_pre."),  # so it is spelled
    (r"\.post_layernorm\.", ".ln_post."),
    (r"\.final_layer_norm\.", ".ln_final."),
    (r"\.encoder\.layers\.", ".transformer.layers."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.mlp\.fc([12])\.", r".linear\1."),
)
PART = re.compile(r"\.self_attn\.([qkv])_proj\.(weight|bias)$")


def from_openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the state of one of OpenAI's files, ViT or ResNet.

    Numbers that are no weights (`input_resolution` and its like) are left
    out, halves become floats. Raises `ValueError` for a state that has
    none of their names.
    """
    check_from(state, "visual.", "OpenAI's", from_transformers)
    ours = {}
    for key, value in state.items():
        if key in ("input_resolution", "context_length", "vocab_size"):
            continue
        if value.dtype in (torch.float16, torch.bfloat16):
            value = value.float()
        ours[renamed(key, OPENAI)] = value
    return ours


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the state of a `transformers.CLIPModel`.

    Its queries, keys and values have a matrix each, where ours have one
    for all, and its projections are transposed. Raises `ValueError` for a
    state that has none of its names, and for a part of one.
    """
    check_from(state, "vision_model.", "transformers'", from_openai)
    ours, parts = {}, {}
    for key, value in state.items():
        if key.endswith("position_ids"):  # old files keep 0, 1, 2, …
            continue
        name = renamed(key, TRANSFORMERS)
        if name.endswith("proj") or name.endswith("projection"):
            value = value.T
        if part := PART.search(name):
            stem = f"{name[: part.start()]}.self_attn.in_proj_{part[2]}"
            parts.setdefault(stem, {})[part[1]] = value
        else:
            ours[name] = value
    for stem, found in parts.items():
        if len(found) < 3:
            raise ValueError(
                f"{stem} of {', '.join(sorted(found))} only: queries, keys "
                "and values belong together; give the whole state"
            )
        ours[stem] = torch.cat([found[letter] for letter in "qkv"])
    return ours


def renamed(key: str, pairs: tuple[tuple[str, str], ...]) -> str:
    """The key after all replacements."""
    for pattern, replacement in pairs:
        key = re.sub(pattern, replacement, key)
    return key


def check_from(state, prefix, whose, other):
    """Refuse a state that is somebody else's."""
    if not any(key.startswith(prefix) for key in state):
        raise ValueError(
            f"no name begins with {prefix!r}, as {whose} do, but with "
            f"{next(iter(state), None)!r}: try {other.__name__}"
        )
