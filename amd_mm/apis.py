"""Build trained models from configs and checkpoints.

    from amd_mm.apis import load_encoder, load_model

    model = load_model('work_dirs/run')              # training folder: its config and checkpoint
    model = load_model(('config.py', 'epoch.pth'))   # config and checkpoint
    model = load_model('vit-s.pth')                  # weights of any known format

``load_encoder`` loads the backbone alone, of models of any task. :func:`amd_mm.load` adds the
preprocessing.
"""

import copy
import importlib
import inspect
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from amd_mm.checkpoints import infer_backbone, load_into, read_checkpoint, to_amd_mm
from amd_mm.datasets.inference import find_pipeline
from amd_mm.errors import ConfigError
from amd_mm.models.algorithms import MaskedAutoencoder
from amd_mm.models.backbones import ImageVisionTransformer, VideoVisionTransformer
from amd_mm.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder
from amd_mm.registry import MODELS
from amd_mm.zoo import fetch
from mmaction.models.backbones import VisionTransformer as MMActionViT
from mmaction.models.losses import BCELossWithLogits
from mmaction.models.recognizers import Recognizer3D
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import VisionTransformer as MMPretrainViT
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor, nn

Source = str | os.PathLike | tuple[str | os.PathLike | Config, str | os.PathLike | None]
"""A training folder, a model folder, a checkpoint (file, address, public name), or (config,
checkpoint).

A model folder is one of :meth:`amd_mm.Model.save`, or a VideoMAE of transformers.

(config, None) gives random weights.
"""

__all__ = [
    'Encoder',
    'build_encoder',
    'choose_device',
    'encoder_of',
    'find_config',
    'find_source',
    'has_sigmoid',
    'inference_config',
    'load_encoder',
    'load_model',
    'normalisation_of',
    'read_config',
    'scope_of',
]


# -- models ------------------------------------------------------------------------------------


def load_model(
    source: Source,
    device: str | None = 'cpu',
    *,
    frames: int | None = None,
    size: int | None = None,
    heads: int | None = None,
) -> nn.Module:
    """Load a trained model for inference.

    Parts for training only (teacher, alignment, ``torch.compile``) are left out. ViTs of
    MMAction2 and MMPretrain are built as ours, which have the same weights.

    Args:
        source: see :data:`Source`. The config that training left beside a checkpoint is found;
            without one, the architecture of a video model is read from the weights.
        device: None is the accelerator if there is one.
        frames: see :func:`infer_backbone`, for checkpoints without config.
        size: see :func:`infer_backbone`.
        heads: see :func:`infer_backbone`.

    Returns:
        In evaluation mode. ``model.cfg`` is the config, with a ``test_pipeline``, and
        ``model.dataset_meta`` holds ``classes`` if the checkpoint does: as MMAction2's
        ``init_recognizer`` and MMPretrain's ``get_model`` leave them.

    Raises:
        ConfigError: if the config cannot be used, or is missing and cannot be inferred.
        CheckpointError: if the checkpoint cannot be read or does not fit.
    """
    cfg, checkpoint = find_source(source)
    content = read_checkpoint(checkpoint) if checkpoint else {}
    if cfg is None:
        cfg = _infer_config(to_amd_mm(content).state, frames, size, heads)
    model_cfg = inference_config(cfg)
    if model_cfg.get('cls_head'):
        model_cfg['cls_head']['average_clips'] = 'prob'
    model = _build(model_cfg, cfg)
    if has_sigmoid(model):
        model.cls_head.average_clips = 'score'  # MMAction2's 'prob' is the softmax
    if checkpoint:
        remedy = 'Give a checkpoint of the whole model.'
        load_into(model, content, name=checkpoint, remedy=remedy, logger='silent')
    else:
        _initialise(model)
    model.cfg = copy.deepcopy(cfg)
    model.cfg.test_pipeline = find_pipeline(cfg, model.backbone)
    meta = content.get('meta') or {}
    model.dataset_meta = meta.get('dataset_meta') or cfg.get('dataset_meta') or {}
    return model.to(choose_device(device)).eval()


def load_encoder(
    source: Source,
    device: str | None = 'cpu',
    *,
    frames: int | None = None,
    size: int | None = None,
    heads: int | None = None,
    allow_missing: Sequence[str] = (),
) -> Encoder:
    """Load the backbone of a model of any task, pre-trained or fine-tuned.

    Args:
        source: see :func:`load_model`, as for the next four.
        device: see there.
        frames: see there.
        size: see there.
        heads: see there.
        allow_missing: weights that the checkpoint need not have, such as
            ``backbone.closing_norms`` if only the blocks are looked at.

    Raises:
        ConfigError: if the config has no ViT, or is missing and cannot be inferred.
        CheckpointError: if the checkpoint cannot be read or does not fit.
    """
    cfg, checkpoint = find_source(source)
    state = to_amd_mm(read_checkpoint(checkpoint)).state if checkpoint else None
    if cfg is None:
        cfg = _infer_config(state or {}, frames, size, heads)
    backbone = inference_config(cfg)['backbone']
    return build_encoder(backbone, state, checkpoint, cfg, allow_missing).to(choose_device(device))


def has_sigmoid(model: Any) -> bool:
    """Whether a video may have several classes, each with a probability of its own."""
    head = getattr(model, 'cls_head', None)
    return isinstance(getattr(head, 'loss_cls', None), BCELossWithLogits)


def encoder_of(model: Any) -> Encoder:
    """The encoder of a model from :func:`load_model`; it shares the weights."""
    images = model.backbone.input_dims == 4
    encoder = Encoder(model.backbone, **normalisation_of(model.cfg.model, images), cfg=model.cfg)
    return encoder.to(next(model.parameters()).device)


# -- where a model comes from ------------------------------------------------------------------


def find_source(source: Source) -> tuple[Config | None, str | None]:
    """The config and the checkpoint that a source names; None where there is none.

    Raises:
        ConfigError: if the config does not exist or cannot be read.
        CheckpointError: if public weights cannot be fetched, see :func:`amd_mm.fetch`.
    """
    if isinstance(source, tuple):
        config, checkpoint = source
        cfg = config if isinstance(config, Config) else read_config(config)
        return cfg, None if checkpoint is None else os.fspath(checkpoint)
    source = fetch(source)
    path = Path(source)
    last = path / 'last_checkpoint'
    if last.is_file():
        best = sorted(path.glob('best_*.pth'), key=os.path.getmtime)
        # by its name alone: the folder may have been moved
        checkpoint = str(best[-1] if best else path / Path(last.read_text().strip()).name)
    else:
        checkpoint = source
    if (Path(source) / 'config.json').is_file():  # a model folder, ours or of transformers
        ours = Path(source) / 'config.py'
        return read_config(ours) if ours.is_file() else _read_hub_config(ours.parent), checkpoint
    found = find_config(checkpoint)
    return None if found is None else read_config(found), checkpoint


def _read_hub_config(folder: Path) -> Config | None:
    """The config of a VideoMAE of transformers; None for another model."""
    path = folder / 'config.json'
    notes = json.loads(path.read_text())
    if notes.get('model_type') != 'videomae':
        return None
    width, classes = notes.get('hidden_size', 768), notes.get('id2label', {})
    mean_pooling = 'VideoMAEForVideoClassification' in notes.get('architectures', [])
    model: dict[str, Any] = dict(
        type='mmaction.Recognizer3D',
        backbone=dict(
            type='amd_mm.VideoVisionTransformer',
            img_size=notes.get('image_size', 224),
            patch_size=notes.get('patch_size', 16),
            in_channels=notes.get('num_channels', 3),
            embed_dims=width,
            depth=notes.get('num_hidden_layers', 12),
            num_heads=notes.get('num_attention_heads', 12),
            mlp_ratio=notes.get('intermediate_size', 3072) / width,
            qkv_bias=notes.get('qv_bias', notes.get('qkv_bias', True)),
            norm_cfg=dict(type='LN', eps=notes.get('layer_norm_eps', 1e-12)),
            num_frames=notes.get('num_frames', 16),
            tubelet_size=notes.get('tubelet_size', 2),
            use_mean_pooling=mean_pooling,
        ),
    )
    if mean_pooling:
        model['cls_head'] = dict(
            type='mmaction.TimeSformerHead', num_classes=len(classes), in_channels=width
        )
    pixels = folder / 'preprocessor_config.json'
    found = json.loads(pixels.read_text()) if pixels.is_file() else {}
    model['data_preprocessor'] = dict(
        type='mmaction.ActionDataPreprocessor',
        mean=[255 * one for one in found['image_mean']] if found else list(IMAGENET_MEAN),
        std=[255 * one for one in found['image_std']] if found else list(IMAGENET_STD),
        format_shape='NCTHW',
    )
    cfg = dict(model=model)
    if mean_pooling:
        cfg['dataset_meta'] = dict(classes=[classes[str(at)] for at in range(len(classes))])
    return Config(cfg, filename=str(path))


def find_config(checkpoint: str | os.PathLike) -> str | None:
    """The config beside a checkpoint: the only ``.py`` file, if the folder is a run's."""
    folder = Path(checkpoint).parent
    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1 or not (folder / 'last_checkpoint').is_file():
        return None
    return str(configs[0])


def read_config(path: str | os.PathLike) -> Config:
    """Read a config file.

    Raises:
        ConfigError: if it is not there, is not a config by its ending, or cannot be read.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise ConfigError(f'there is no config file {path}')
    if Path(path).suffix not in ('.py', '.json', '.yml', '.yaml'):
        raise ConfigError(f'{path} is not a config file (.py)')
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is a program: it can fail in any way
        raise ConfigError(f'{path} cannot be read: {type(error).__name__}: {error}') from error
    custom = cfg.get('custom_imports') or {}
    imports = custom.get('imports') or []
    for name in [imports] if isinstance(imports, str) else imports:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if custom.get('allow_failed_imports'):
                continue
            missing = getattr(error, 'name', None) or ''
            remedy = ''
            if f'{name}.'.startswith(f'{missing}.'):  # the module itself, not one that it imports
                remedy = f': add the folder of {name} to PYTHONPATH'
            raise ConfigError(
                f'{path}: custom_imports cannot import {name}: {error}{remedy}'
            ) from error
    return cfg


def choose_device(name: str | None = None) -> str:
    """The device of this name, by default the accelerator if there is one.

    Raises:
        ConfigError: if torch cannot use it here.
    """
    name = name or get_device()
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f'--device {name}: {str(error).splitlines()[0]}') from None
    return name


# -- configs of models for inference -----------------------------------------------------------


def build_encoder(
    backbone: Mapping[str, Any],
    state: Mapping[str, Tensor] | None,
    name: str | None,
    cfg: Config,
    allow_missing: Sequence[str] = (),
) -> Encoder:
    """Build an encoder from the config and the weights of a backbone.

    Args:
        backbone: config of a ViT of this package, MMAction2 or MMPretrain.
        state: weights in our names; None initialises them.
        name: of the weights, for messages.
        cfg: of the whole model, for the normalisation and the test pipeline.
        allow_missing: see :func:`load_encoder`.

    Raises:
        ConfigError: for another backbone.
        CheckpointError: if the weights do not fit.
    """
    backbone = _our_backbone(backbone, cfg)
    if issubclass(backbone['type'], VideoVisionTransformer):
        backbone.update(
            type=VideoVisionTransformer,
            use_mean_pooling='backbone.fc_norm.weight' in (state or {}),
            return_feat_map=False,
        )
    _return_one_feature(backbone)
    built = _build(backbone, cfg)
    if state is None:
        _initialise(built)
    else:
        load_into(
            built,
            state,
            allow_missing=allow_missing,
            fmt='amd_mm',
            name=name,
            remedy='Give a checkpoint of the whole encoder.',
            logger='silent',
        )
    cfg = copy.deepcopy(cfg)
    cfg.test_pipeline = find_pipeline(cfg, built)
    normalisation = normalisation_of(cfg.model, images=built.input_dims == 4)
    return Encoder(built, **normalisation, cfg=cfg)


def inference_config(cfg: Config) -> dict[str, Any]:
    """The config of the model without the parts for training only.

    AMD becomes a ``MaskedAutoencoder``, a distilled classifier a plain one. A model that neither
    reconstructs nor classifies is reduced to its backbone.

    Raises:
        ConfigError: if the model has no ViT.
    """
    model = dict(copy.deepcopy(cfg.get('model') or {}))
    kind = _class_of(model, cfg)
    model['backbone'] = _our_backbone(model.get('backbone') or {}, cfg)
    model.pop('init_cfg', None)
    if kind is None or model.get('roi_head'):
        return model
    bases = (MaskedAutoencoder, Recognizer3D, ImageClassifier)
    base: Any = next((one for one in bases if issubclass(kind, one)), None)
    if base is MaskedAutoencoder and not model.get('rec_weight', 1):  # learns features alone
        base = None
    if base in (MaskedAutoencoder, None):
        _return_one_feature(model['backbone'])
    if base is not None:
        known = set(inspect.signature(base).parameters) - {'train_cfg'}
    else:
        known = {'backbone', 'data_preprocessor'}
        video = issubclass(model['backbone']['type'], MMActionViT)
        base = Recognizer3D if video else ImageClassifier
        if not video:  # with the preprocessor of classifiers, in any scope
            pixels = model.get('data_preprocessor') or {}
            model['data_preprocessor'] = dict(
                type='mmpretrain.ClsDataPreprocessor',
                **{key: pixels[key] for key in ('mean', 'std', 'to_rgb') if key in pixels},
            )
    kept = {key: value for key, value in model.items() if key in known}
    kept['type'] = base
    if 'compile_blocks' in kept:
        kept['compile_blocks'] = False
    return kept


def _return_one_feature(backbone: dict[str, Any]) -> None:
    """Let an image backbone return one vector for each image."""
    if issubclass(backbone['type'], ImageVisionTransformer) and (
        backbone.get('out_type') not in (None, 'cls_token', 'avg_featmap')
    ):
        backbone['out_type'] = 'cls_token'


def normalisation_of(model: Mapping[str, Any], images: bool) -> dict[str, Any]:
    """Mean and std of red, green and blue, and whether the model takes them as BGR.

    Images are loaded as BGR and ``to_rgb`` reverses them; videos are decoded as RGB, and
    ``to_rgb`` turns them into BGR. Without a mean in the config values stay as they are.
    """
    found = model.get('data_preprocessor') or {}
    channels = (model.get('backbone') or {}).get('in_channels', 3)
    mean = found.get('mean') or [0.0] * channels
    std = found.get('std') or [1.0] * channels
    bgr = bool(found.get('to_rgb', False)) != images
    if bgr:
        mean, std = mean[::-1], std[::-1]
    return dict(mean=list(mean), std=list(std), bgr=bgr)


def scope_of(cfg: Config) -> str:
    """The default scope in which a config's model and pipelines are built."""
    model = cfg.get('model') or {}
    video = model.get('cls_head') or model.get('roi_head')
    return cfg.get('default_scope') or ('mmaction' if video else 'mmpretrain')


def _class_of(part: Mapping[str, Any], cfg: Config) -> type | None:
    kind = part.get('type')
    if kind is None or isinstance(kind, type):
        return kind
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        return MODELS.get(str(kind))


def _our_backbone(backbone: Mapping[str, Any], cfg: Config) -> dict[str, Any]:
    """The config of a ViT as one of ours, which loads and compiles nothing."""
    kind = _class_of(backbone, cfg)
    ours = {MMActionViT: VideoVisionTransformer, MMPretrainViT: ImageVisionTransformer}.get(kind)
    if kind is not None and issubclass(kind, (VideoVisionTransformer, ImageVisionTransformer)):
        ours = kind
    if ours is None:
        raise ConfigError(
            f'{cfg.filename}: model.backbone.type is {backbone.get("type")}, but only '
            'amd_mm.VideoVisionTransformer, amd_mm.ImageVisionTransformer and the '
            'VisionTransformer of MMAction2 and MMPretrain are supported here'
        )
    unused = ('pretrained', 'init_cfg', 'compile_blocks', 'drop_path_rate')
    kept = {key: value for key, value in backbone.items() if key not in unused}
    return {**kept, 'type': ours}


def _build(part: dict[str, Any], cfg: Config) -> Any:
    try:
        with DefaultScope.overwrite_default_scope(scope_of(cfg)):
            return MODELS.build(part)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(f'the model of {cfg.filename} cannot be built: {error}') from error


def _initialise(module: Any) -> None:
    """Call ``init_weights`` without a line in the log for every parameter."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        module.init_weights()
    finally:
        logging.disable(before)


def _infer_config(
    state: Mapping[str, Tensor], frames: int | None, size: int | None, heads: int | None
) -> Config:
    """A config for weights alone: a recogniser, without head if the weights have no classifier."""
    backbone = infer_backbone(state, frames, size, heads)
    model: dict[str, Any] = dict(
        type='mmaction.Recognizer3D',
        backbone=backbone,
        data_preprocessor=dict(
            type='mmaction.ActionDataPreprocessor',
            mean=list(IMAGENET_MEAN),
            std=list(IMAGENET_STD),
            format_shape='NCTHW',
        ),
    )
    classifier = state.get('cls_head.fc_cls.weight')
    if classifier is not None:
        classes, width = classifier.shape
        model['cls_head'] = dict(
            type='mmaction.TimeSformerHead', num_classes=classes, in_channels=width
        )
        if 'cls_head.norm.running_mean' in state:  # a linear probe
            model['cls_head']['type'] = 'amd_mm.LinearProbeHead'
            backbone['return_feat_map'] = True
    return Config(dict(model=model))
