"""Public weights and shipped configs by name.

    fetch('videomae-base')              # downloads once; the local folder or file
    fetch('MCG-NJU/videomae-base')      # the same by its repository
    list_configs('amd/pretrain')        # names for _base_ = 'amd_mm::NAME'

The tables of docs/model_zoo.md are :func:`as_markdown` of :data:`WEIGHTS`.
"""

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amd_mm.errors import CheckpointError

_HUB_FILES = ('model.safetensors', 'pytorch_model.bin')
_HUB_NOTES = ('config.json', 'preprocessor_config.json')
_NON_COMMERCIAL = 'CC-BY-NC-4.0'


@dataclass(frozen=True)
class Weights:
    """A public file or repository of weights.

    Args:
        name: Short name.
        architecture: Such as ``vit-base``.
        frames: Of a clip; 1 for images. All are 224 x 224.
        trained: Method and data.
        source: ``owner/repository`` of the Hugging Face hub, or the address of a file.
        licence: As its authors state it.
        role: ``teacher``: pre-trained. ``recogniser``: fine-tuned, with a classifier.
        top1: Accuracy that the authors report, in percent.
        sha256: The digest, or its first digits, as far as the authors publish it.
    """

    name: str
    architecture: str
    frames: int
    trained: str
    source: str
    licence: str = _NON_COMMERCIAL
    role: str = 'teacher'
    top1: float | None = None
    sha256: str = ''

    @property
    def address(self) -> str:
        """For a browser."""
        return self.source if '://' in self.source else f'https://huggingface.co/{self.source}'


_MMACTION = 'https://download.openmmlab.com/mmaction/v1.0/recognition'
_MMSELFSUP = 'https://download.openmmlab.com/mmselfsup/1.x/mae'
_MAE = 'https://dl.fbaipublicfiles.com/mae'
_PRETRAINED = 'VideoMAE, Kinetics-400, 1600 epochs'
_FINETUNED = 'VideoMAE, fine-tuned on Kinetics-400'
_NORMALISED = 'MAE, ImageNet-1K, normalised pixels'
_OPENMMLAB = 'MAE by MMPretrain, ImageNet-1K, 1600 epochs'


def _openmmlab(folder: str, name: str, role: str = 'teacher') -> dict:
    """OpenMMLab's files end in the first digits of their sha256."""
    return dict(source=f'{folder}/{name}.pth', sha256=name.rpartition('-')[2], role=role)


def _mmaction(name: str, folder: str = 'videomae') -> dict:
    return _openmmlab(f'{_MMACTION}/{folder}', name, 'recogniser')


def _mmselfsup(name: str) -> dict:
    return _openmmlab(f'{_MMSELFSUP}/{name.rpartition("_")[0]}', name)


_V2 = 'vit-base-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400'
WEIGHTS: tuple[Weights, ...] = (
    Weights('videomae-base', 'vit-base', 16, _PRETRAINED, 'MCG-NJU/videomae-base'),
    Weights('videomae-large', 'vit-large', 16, _PRETRAINED, 'MCG-NJU/videomae-large'),
    Weights(
        'videomae-base-ssv2',
        'vit-base',
        16,
        'VideoMAE, Something-Something V2, 2400 epochs',
        'MCG-NJU/videomae-base-ssv2',
    ),
    Weights(
        'videomae-base-k400',
        'vit-base',
        16,
        _FINETUNED,
        top1=81.3,
        **_mmaction('vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3'),
    ),
    Weights(
        'videomae-large-k400',
        'vit-large',
        16,
        _FINETUNED,
        top1=85.3,
        **_mmaction('vit-large-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-229dbb03'),
    ),
    Weights(
        'videomaev2-base-k400',
        'vit-base',
        16,
        'VideoMAE v2, distilled from ViT-g, fine-tuned on Kinetics-400',
        licence='see VideoMAE v2',
        top1=86.6,
        **_mmaction(f'{_V2}_20230510-3e7f93b2', f'videomaev2/{_V2}'),
    ),
    Weights('mae-base', 'vit-base', 1, _NORMALISED, f'{_MAE}/pretrain/mae_pretrain_vit_base.pth'),
    Weights(
        'mae-large', 'vit-large', 1, _NORMALISED, f'{_MAE}/pretrain/mae_pretrain_vit_large.pth'
    ),
    Weights(
        'mae-large-pixels',
        'vit-large',
        1,
        "MAE, ImageNet-1K, raw pixels: the teacher of DMAE's `released` configs",
        f'{_MAE}/visualize/mae_visualize_vit_large.pth',
    ),
    Weights(
        'mae-base-mmpretrain',
        'vit-base',
        1,
        _OPENMMLAB,
        licence='Apache-2.0',
        **_mmselfsup('mae_vit-base-p16_8xb512-fp16-coslr-1600e_in1k_20220825-f7569ca2'),
    ),
    Weights(
        'mae-large-mmpretrain',
        'vit-large',
        1,
        _OPENMMLAB,
        licence='Apache-2.0',
        **_mmselfsup('mae_vit-large-p16_8xb512-fp16-coslr-1600e_in1k_20220825-cc7e98c9'),
    ),
    Weights(
        'mae-huge',
        'vit-huge',
        1,
        f'{_NORMALISED}, patches of 14',
        f'{_MAE}/pretrain/mae_pretrain_vit_huge.pth',
    ),
)


def find(name: str) -> Weights | None:
    """The weights of a short name, a repository or an address; None if they are not listed."""
    return next((one for one in WEIGHTS if name in (one.name, one.source)), None)


def list_models(role: str | None = None) -> list[str]:
    """The names of public weights, all or those of a role (``teacher``, ``recogniser``)."""
    return [one.name for one in WEIGHTS if role in (None, one.role)]


def list_configs(folder: str = '') -> list[str]:
    """The names of the shipped configs, all or those below a folder, without ``_base_``."""
    root = shipped('configs')
    paths = (root / folder).rglob('*.py')
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    return [name for name in names if not name.startswith('_base_/')]


def shipped(entry: str) -> Path:
    """``configs`` or ``tools`` of a wheel (where mim reads them) or of a checkout."""
    package = Path(__file__).parent
    inside = package / '.mim' / entry
    return inside if inside.is_dir() else package.parent / entry


def fetch(name: str | os.PathLike) -> str:
    """The local file or folder of some weights, downloaded once.

    Args:
        name: A local file or folder; a name of :data:`WEIGHTS`; any ``owner/repository`` of the
            Hugging Face hub; or an http(s) address. Repositories come through ``huggingface_hub``
            if it is installed (its cache, its environment variables), all else into torch's hub
            cache.

    Raises:
        CheckpointError: If there is no such name, or it cannot be downloaded; names the file to get
            by other means. Also if the file has another sha256 than the published one.
    """
    name = os.fspath(name)
    if os.path.exists(os.path.expanduser(name)):
        return os.path.expanduser(name)
    known = find(name)
    source = known.source if known else name
    if known and known.licence == _NON_COMMERCIAL:
        print(
            f'{name}: licence {known.licence}, which forbids commercial use, also of students '
            f'that are distilled from it ({known.address})'
        )
    if '://' in source:
        from amd_mm.checkpoints.io import download

        return download(source, known.sha256 if known else '')
    if re.fullmatch(r'[\w.-]+/[\w.-]+', source) and not re.search(
        r'\.(pth?|bin|safetensors)$', name
    ):
        return _from_hub(source)
    names = list_models()
    close = difflib.get_close_matches(name, names, n=3)
    raise CheckpointError(
        f'There is no file or folder {name} (working directory: {os.getcwd()}), and there are no '
        f'public weights of this name; {"did you mean" if close else "there are"} '
        f'{", ".join(close or names)}'
    )


def _from_hub(repository: str) -> str:
    """The folder of a repository's weights, with the configs that lie beside them."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        hf_hub_download = None

    def get(file: str) -> str:
        if hf_hub_download:
            return hf_hub_download(repository, file)
        from amd_mm.checkpoints.io import download

        host = os.environ.get('HF_ENDPOINT', 'https://huggingface.co')
        return download(f'{host}/{repository}/resolve/main/{file}', folder=repository)

    reasons = []
    for file in _HUB_FILES:
        try:
            folder = Path(get(file)).parent
        except Exception as error:  # huggingface_hub has many, of several base classes
            reasons.append(str(error).strip().splitlines()[0])
            continue
        for note in _HUB_NOTES:
            try:
                get(note)
            except Exception:  # not every repository has one, and the weights suffice
                continue
        return str(folder)
    raise CheckpointError(
        f'There is no file or folder {repository} here, and https://huggingface.co/{repository} '
        f'cannot be read: {reasons[0]} Download {" or ".join(_HUB_FILES)} and config.json of it by '
        'other means into a folder, and give the path of that folder'
    )


def as_markdown(weights: Sequence[Weights]) -> str:
    """The rows of a table, as docs/model_zoo.md has them."""
    rows = ['| name | weights | where | licence |', '|---|---|---|---|']
    for one in weights:
        shown = one.source if '://' not in one.source else one.source.rpartition('/')[2]
        accuracy = f': top-1 {one.top1}' if one.top1 else ''
        rows.append(
            f'| `{one.name}` | {one.architecture}, {one.trained}{accuracy} | '
            f'[`{shown}`]({one.address}) | {one.licence} |'
        )
    return '\n'.join(rows)
