"""A folder that holds a trained model, in the form of the Hugging Face hub.

========================  ====================================================================
``model.safetensors``     the weights
``config.json``           for transformers (video) or timm (images)
``preprocessor_config``   for the image processor of transformers (``.json``, video)
``config.py``             for this package: the model without training parts, the test pipeline
``README.md``             licence and lineage
========================  ====================================================================
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amd_mm.apis import inference_config, normalisation_of, scope_of
from amd_mm.checkpoints import CheckpointError, from_amd_mm, save_weights, write_atomically
from amd_mm.datasets.inference import stride_of
from amd_mm.errors import ConfigError
from amd_mm.models.backbones import ImageVisionTransformer, VideoVisionTransformer
from amd_mm.models.encoder import Encoder
from amd_mm.registry import type_name
from amd_mm.version import __version__
from mmaction.models.recognizers import Recognizer3D
from mmengine.config import Config
from mmpretrain.models.classifiers import ImageClassifier
from torch import nn

_NAMES = {
    Recognizer3D: 'mmaction.Recognizer3D',
    ImageClassifier: 'mmpretrain.ImageClassifier',
    VideoVisionTransformer: 'amd_mm.VideoVisionTransformer',
    ImageVisionTransformer: 'amd_mm.ImageVisionTransformer',
}
_USE = {
    'transformers': """```python
from transformers import {architecture}, VideoMAEImageProcessor

model = {architecture}.from_pretrained('{folder}')
processor = VideoMAEImageProcessor.from_pretrained('{folder}')
outputs = model(**processor(list(frames), return_tensors='pt'))  # {frames} frames (H, W, 3), RGB
```""",
    'timm': """```python
import timm

model = timm.create_model('local-dir:{folder}', pretrained=True)
```""",
    'amd_mm': 'The architecture has no counterpart in transformers or timm.',
}


def save_model_folder(
    module: Any,
    encoder: Encoder,
    folder: str | os.PathLike,
    licence: str | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> str:
    """Write a model for others; parts for training only are left out.

    ``transformers`` reads video models (``VideoMAEModel``, ``VideoMAEForVideoClassification``) that
    have the fixed position table of VideoMAE and no layer scale, ``timm`` image models. Other
    models are written in our own names.

    Args:
        module: from :func:`amd_mm.apis.load_model`.
        encoder: its encoder.
        folder: a new or empty folder.
        licence: of the weights, for the README, such as ``'apache-2.0'``.
        lineage: further rows of the README: where the model comes from.

    Returns:
        Who reads it besides this package: ``transformers``, ``timm`` or ``amd_mm`` (nobody).

    Raises:
        ConfigError: if the folder holds files.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f'{folder} is not empty; give a new folder')
    cfg = _slim_config(module, encoder)
    state = {
        name: value
        for name, value in module.state_dict().items()
        if name.startswith(('backbone.', 'cls_head.', 'head.'))
    }
    images = encoder.frames is None
    reader, names = ('timm', 'mae') if images else ('transformers', 'huggingface')
    try:
        weights = from_amd_mm(state, names).state
        notes = (_timm_config if images else _transformers_config)(cfg, encoder.backbone, weights)
    except CheckpointError:
        reader, names, weights, notes = 'amd_mm', 'amd_mm', state, dict(model_type='amd_mm')
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(weights, folder / 'model.safetensors', names, dict(amd_mm=__version__))
    files = {'config.json': json.dumps(notes, indent=2) + '\n', 'config.py': cfg.pretty_text}
    if reader == 'transformers':
        files['preprocessor_config.json'] = json.dumps(_processor(cfg, encoder), indent=2) + '\n'
    rows = {**_lineage(module.cfg, encoder), **(lineage or {})}
    files['README.md'] = _readme(folder.name, reader, notes, rows, licence, encoder)
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    return reader


def _slim_config(module: Any, encoder: Encoder) -> Config:
    """The model without training parts, the test pipeline, the stride and the classes."""
    model = inference_config(module.cfg)
    kept = ('type', 'backbone', 'neck', 'cls_head', 'head', 'data_preprocessor')
    model = {key: model[key] for key in kept if model.get(key) is not None}
    images = encoder.frames is None
    if not (model.get('cls_head') or isinstance(module, ImageClassifier)):  # pre-trained
        model = {key: model[key] for key in ('backbone', 'data_preprocessor')}
        model['type'] = ImageClassifier if images else Recognizer3D
        if images:  # the arguments that classifiers know
            known = ('mean', 'std', 'to_rgb')
            found = model['data_preprocessor']
            model['data_preprocessor'] = {key: found[key] for key in known if key in found}
    model['type'] = _NAMES.get(model['type'], model['type'])
    backbone = model['backbone']
    known = next(one for one in _NAMES if issubclass(backbone['type'], one))
    backbone['type'] = _NAMES[known]
    cfg = dict(
        default_scope=scope_of(module.cfg),
        model=model,
        test_pipeline=copy.deepcopy(module.cfg.test_pipeline),
    )
    if classes := getattr(module, 'dataset_meta', {}).get('classes'):
        cfg['dataset_meta'] = dict(classes=list(classes))
    return Config(cfg)


def _labels(cfg: Config, count: int) -> list[str]:
    found = cfg.get('dataset_meta', {}).get('classes')
    return list(found or (f'class {number}' for number in range(count)))


def _transformers_config(cfg: Config, backbone: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` of a VideoMAE.

    Raises:
        CheckpointError: if transformers would compute something else.
    """
    norms = [one for one in backbone.modules() if isinstance(one, nn.LayerNorm)]
    head = cfg.model.get('cls_head')
    attention = backbone.blocks[0].attn
    if head and type_name(head) != 'TimeSformerHead':
        raise CheckpointError('transformers has no such head')
    if abs(attention.scale - (backbone.num_heads / backbone.embed_dims) ** 0.5) > 1e-9:
        raise CheckpointError('transformers scales attention by the width of a head')
    (time, rows, columns), (tubelet, patch, _) = backbone.token_grid, backbone.patch_shape
    notes: dict[str, Any] = dict(
        architectures=['VideoMAEForVideoClassification' if head else 'VideoMAEModel'],
        model_type='videomae',
        image_size=rows * patch if rows == columns else [rows * patch, columns * patch],
        patch_size=patch,
        num_channels=backbone.in_channels,
        num_frames=time * tubelet,
        tubelet_size=tubelet,
        hidden_size=backbone.embed_dims,
        num_hidden_layers=backbone.depth,
        num_attention_heads=backbone.num_heads,
        intermediate_size=backbone.blocks[0].mlp.layers[0][0].out_features,
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=norms[0].eps,
        qkv_bias=any(name.endswith('q_bias') for name in weights),
        use_mean_pooling=backbone.fc_norm is not None,
    )
    if head:
        labels = _labels(cfg, head.num_classes)
        notes['id2label'] = {str(at): label for at, label in enumerate(labels)}
        notes['label2id'] = {label: at for at, label in enumerate(labels)}
    return notes


def _timm_config(cfg: Config, backbone: Any, weights: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json`` of a ViT of timm.

    Raises:
        CheckpointError: if timm would compute something else.
    """
    (_, rows, columns), (_, height, width) = backbone.token_grid, backbone.patch_shape
    out_type = backbone.out_type
    if out_type not in ('cls_token', 'avg_featmap') or cfg.model.get('neck'):
        raise CheckpointError('timm has no such pooling')
    mean_pooling = out_type == 'avg_featmap'
    classes = len(weights['head.weight']) if 'head.weight' in weights else 0
    scaling = normalisation_of(cfg.model, images=True)
    if scaling['bgr']:
        raise CheckpointError('timm takes RGB')
    return dict(
        architecture='vit_base_patch16_224',
        num_classes=classes,
        num_features=backbone.embed_dims,
        global_pool='avg' if mean_pooling else 'token',
        model_args=dict(
            img_size=[rows * height, columns * width],
            patch_size=[height, width],
            in_chans=backbone.in_channels,
            embed_dim=backbone.embed_dims,
            depth=backbone.depth,
            num_heads=backbone.layers[0].attn.num_heads,
            mlp_ratio=backbone.layers[0].ffn.layers[0][0].out_features / backbone.embed_dims,
            class_token=backbone.cls_token is not None,
            global_pool='avg' if mean_pooling else 'token',
        ),
        pretrained_cfg=dict(
            num_classes=classes,
            input_size=[backbone.in_channels, rows * height, columns * width],
            interpolation='bilinear',
            crop_pct=1.0,
            mean=[one / 255 for one in scaling['mean']],
            std=[one / 255 for one in scaling['std']],
            classifier='head',
            first_conv='patch_embed.proj',
            **(dict(label_names=_labels(cfg, classes)) if classes else {}),
        ),
    )


def _processor(cfg: Config, encoder: Encoder) -> dict[str, Any]:
    height, width = encoder.size
    scaling = normalisation_of(cfg.model, images=False)
    return dict(
        image_processor_type='VideoMAEImageProcessor',
        do_resize=True,
        size=dict(shortest_edge=min(height, width)),
        resample=2,  # bilinear
        do_center_crop=True,
        crop_size=dict(height=height, width=width),
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[one / 255 for one in scaling['mean']],
        image_std=[one / 255 for one in scaling['std']],
    )


def _lineage(cfg: Config, encoder: Encoder) -> dict[str, Any]:
    """Where a model comes from, as far as its config says: no folders of this machine."""
    model, loop = cfg.get('model') or {}, cfg.get('train_cfg') or {}
    data = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    teacher = (model.get('teacher') or {}).get('checkpoint')
    start = (model.get('backbone') or {}).get('pretrained')
    found = {
        'Model': encoder.describe(),
        'Method': type_name(model) if model.get('type') else None,
        'Teacher': teacher and Path(str(teacher)).name,
        'Initialised from': start and Path(str(start)).name,
        'Training data': data.get('ann_file') and Path(str(data['ann_file'])).name,
        'Epochs': loop.get('max_epochs'),
        'Steps': loop.get('max_iters'),
        'Frames of a clip': encoder.frames,
        'Stride of the frames': stride_of(cfg) if encoder.frames else None,
        'Made with': f'amd_mm {__version__}',
    }
    return {key: value for key, value in found.items() if value is not None}


def _readme(
    name: str,
    reader: str,
    notes: Mapping[str, Any],
    rows: Mapping[str, Any],
    licence: str | None,
    encoder: Encoder,
) -> str:
    """The model card."""
    head = ['---', f'library_name: {reader}']
    head += [f'license: {licence}'] if licence else []
    use = _USE[reader].format(
        folder=name, architecture=notes.get('architectures', [''])[0], frames=encoder.frames
    )
    terms = licence or (
        'not stated. The terms of the teacher and of the training data apply to the student: '
        'add them here.'
    )
    table = '\n'.join(f'| {key} | {value} |' for key, value in rows.items())
    return '\n'.join(
        [
            *head,
            f'---\n\n# {name}\n\n| | |\n|---|---|\n{table}\n\nLicence: {terms}\n',
            f"```python\nimport amd_mm\n\nmodel = amd_mm.load('{name}')\n```\n\n{use}\n",
        ]
    )
