"""Writes configs/README.md: one table of every config, read from the configs.

    python docs/config_table.py          # writes the page
    python docs/config_table.py --check  # says whether it is up to date

What a config says (model, teacher, epochs, batch) is read from it; what it
does not say (the data's name, the paper's number) from the metafiles.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
from mmengine.config import Config, ConfigDict

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'configs' / 'README.md'

SIZES = {192: 'T', 384: 'S', 768: 'B', 1024: 'L', 1280: 'H'}
ARCHITECTURES = {'deit-tiny': 192, 'deit-small': 384, 'mocov3-small': 384}
KINDS = {
    'pretrain': 'Pre-training',
    'image': 'Images: pre-training, fine-tuning, linear probe',
    'recognition': 'Recognition',
    'finetune': 'Fine-tuning for classification',
    'detection': 'Action detection',
    'probe': 'Linear probes',
    'ablation': 'Ablations',
}
FOLDERS = {
    'amd': 'AMD',
    'videomae': 'VideoMAE',
    'dmae': 'DMAE',
    'tinymim': 'TinyMIM',
    'mae': 'MAE',
    'many_gpus': 'Many GPUs (FSDP)',
    'quickstart': 'Quickstart',
    'quickstart_image': 'Quickstart with images',
}
DATA = {
    'k400': 'Kinetics-400',
    'sthv2': 'Something-Something V2',
    'ucf101': 'UCF101',
    'hmdb51': 'HMDB51',
    'in1k': 'ImageNet-1K',
    'folder': 'your folder',
    'image': 'handwritten digits',
    'quickstart': 'made by the quickstart',
}
INTRODUCTION = """# All configs

Made by `python docs/config_table.py` from the configs themselves; a test keeps it up to date. A config is run by

```bash
bash tools/dist_train.sh configs/FOLDER/CONFIG.py 8 --auto-scale-lr --cfg-options KEY=FILE
mim train amd_mm CONFIG.py --gpus 8 --launcher pytorch --auto-scale-lr --cfg-options KEY=FILE  # from anywhere
```

where `KEY` is what the column *reads* names: the weights of the teacher, or those that fine-tuning starts from. *Epochs* are
passes over the data; in pre-training on video a pass takes four samples of every video, so that 200 of them are the 800 epochs of a
name. *A step* is videos, or images, on all GPUs together. *Paper* is the authors' result for the fine-tuned model: we have trained
none of these at full size.
"""


class Row(NamedTuple):
    """A line of the table."""

    path: Path
    data: str
    student: str
    teacher: str
    epochs: str
    step: str
    reads: str
    paper: str


def find_configs(folder: str) -> list[Path]:
    """Configs of one algorithm, those of each kind together."""
    return sorted((ROOT / 'configs' / folder).rglob('*.py'))


def read_metafiles() -> dict[str, dict]:
    """Metadata by the config's path in the repository."""
    metadata = {}
    for path in (ROOT / 'configs').glob('*/metafile.yml'):
        for model in yaml.safe_load(path.read_text())['Models']:
            metadata[model['Config']] = model['Metadata']
    return metadata


def size_of(backbone: ConfigDict) -> str:
    """ViT-S and the like, or the width of a ViT of no usual size."""
    arch = backbone.get('arch')
    if isinstance(arch, str):
        dims = ARCHITECTURES.get(arch)
        return f'ViT-{SIZES[dims]}' if dims else f'ViT-{arch[0].upper()}'
    dims = (arch or backbone).get('embed_dims', 768)
    depth = (arch or backbone).get('depth', 12)
    return f'ViT-{SIZES[dims]}' if dims in SIZES else f'{depth} x {dims}'


def teacher_of(model: ConfigDict) -> str:
    """Size of the teacher, or nothing without one."""
    teacher = model.get('teacher')
    if not teacher:
        return ''
    return size_of((teacher.get('classifier') or teacher).backbone)


def weights_of(model: ConfigDict) -> list[str]:
    """Keys of the weights that training reads."""
    keys = []
    if model.get('teacher'):
        keys.append('model.teacher.checkpoint')
    if model.backbone.get('pretrained'):
        keys.append('model.backbone.pretrained')
    start = model.backbone.get('init_cfg')
    if isinstance(start, dict) and start.get('checkpoint'):
        keys.append('model.backbone.init_cfg.checkpoint')
    return keys


def length_of(train_cfg: ConfigDict) -> str:
    """Epochs, or iterations where these are what is counted."""
    if 'max_epochs' in train_cfg:
        return str(train_cfg.max_epochs)
    return f'{train_cfg.max_iters} iterations'


def data_of(path: Path, metadata: dict | None) -> str:
    """The data's name: of the metafile, or by the end of the config's name."""
    if metadata:
        return metadata['Training Data']
    words = path.stem.replace('-', '_').split('_')
    return next(DATA[word] for word in reversed(words) if word in DATA)


def read_row(path: Path, metadata: dict | None) -> Row:
    """Read a config."""
    cfg = Config.fromfile(path)
    scale = cfg.get('auto_scale_lr') or {}
    step = scale.get('base_batch_size', cfg.train_dataloader.batch_size)
    if path.parent.name.startswith('quickstart'):  # one process
        step = cfg.train_dataloader.batch_size
    return Row(
        path=path,
        data=data_of(path, metadata),
        student=size_of(cfg.model.backbone),
        teacher=teacher_of(cfg.model),
        epochs=length_of(cfg.train_cfg),
        step=str(step),
        reads=', '.join(f'`{key}`' for key in weights_of(cfg.model)),
        paper=str((metadata or {}).get('Paper', '')),
    )


def as_table(rows: list[Row]) -> Iterator[str]:
    """Lines of markdown."""
    yield '| config | data | student | teacher | epochs | a step | reads | paper |'
    yield '|---|---|---|---|---|---|---|---|'
    for row in rows:
        link = row.path.relative_to(PAGE.parent).as_posix()
        yield f'| [{row.path.stem}]({link}) | ' + ' | '.join(row[1:]) + ' |'


def make_page() -> str:
    """The whole page."""
    metadata = read_metafiles()
    lines = [INTRODUCTION]
    for folder, name in FOLDERS.items():
        lines += [f'## {name}', '', f'[About them]({folder}/README.md).', '']
        by_kind: dict[str, list[Row]] = {}
        for path in find_configs(folder):
            entry = metadata.get(path.relative_to(ROOT).as_posix())
            by_kind.setdefault(path.parent.name, []).append(read_row(path, entry))
        for kind in sorted(by_kind, key=[*KINDS, folder].index):
            if kind in KINDS:
                lines += [f'### {name}: {KINDS[kind]}', '']
            lines += [*as_table(by_kind[kind]), '']
    return '\n'.join(lines)


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description='Table of all configs')
    parser.add_argument('--check', action='store_true', help='write nothing')
    args = parser.parse_args()
    page = make_page()
    if not args.check:
        PAGE.write_text(page, encoding='utf-8')
    elif PAGE.read_text(encoding='utf-8') != page:
        sys.exit(f'{PAGE} is out of date: run python docs/config_table.py')


if __name__ == '__main__':
    main()
