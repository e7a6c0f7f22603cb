"""One procedural world for the whole book: coloured shapes and real digits on textured grounds, still and in motion.

A scene is data first: frozen dataclasses in coordinates that no image size enters. Everything else is a function of it.

| module | what it gives |
| --- | --- |
| `shapes` | the classes and their signed distances |
| `textures` | the patterns of things and of backgrounds |
| `world` | `Thing`, `Background`, `Light`, `Scene`, `Rules`; `sample_scene`, `split_combinations` |
| `render` | `render`: the image with masks, instance ids, boxes and labels |
| `captions` | `caption`, `describe`, `relations`: true sentences about a scene |
| `motion` | `Motion`, `render_clip`: a video with its true optical flow |
| `actions` | `ACTIONS`, `sample_action`: labelled clips whose middle frame tells nothing about the motion |
| `batches` | `make_scenes`, `make_clips`: stacked tensors, any stretch of an endless stream |
"""

from helpers.data.scenes.actions import ACTIONS, Episode, sample_action
from helpers.data.scenes.batches import ClipBatch, SceneBatch, make_clips, make_scenes
from helpers.data.scenes.captions import caption, describe, relations
from helpers.data.scenes.motion import Clip, Motion, moved, render_clip
from helpers.data.scenes.render import Picture, render
from helpers.data.scenes.shapes import CLASSES, DIGITS, SHAPES
from helpers.data.scenes.textures import BACKGROUNDS, MATERIALS
from helpers.data.scenes.world import (
    COLOURS,
    SIZES,
    Background,
    Light,
    Rules,
    Scene,
    Thing,
    sample_scene,
    split_combinations,
)

__all__ = [
    "ACTIONS",
    "BACKGROUNDS",
    "CLASSES",
    "COLOURS",
    "DIGITS",
    "MATERIALS",
    "SHAPES",
    "SIZES",
    "Background",
    "Clip",
    "ClipBatch",
    "Episode",
    "Light",
    "Motion",
    "Picture",
    "Rules",
    "Scene",
    "SceneBatch",
    "Thing",
    "caption",
    "describe",
    "make_clips",
    "make_scenes",
    "moved",
    "relations",
    "render",
    "render_clip",
    "sample_action",
    "sample_scene",
    "split_combinations",
]
