"""TinyMIM's sequential distillation, ViT-L -> B -> S -> T, in one command.

    python tools/tinymim_chain.py --teacher mae_pretrain_vit_large.pth \
        --data data/imagenet --gpus 8 --finetune

Each stage is a run of tools/train.py (tools/dist_train.sh for several GPUs) below --out, whose
teacher is the last checkpoint of the stage before. Interrupted, the same command continues;
finished stages are skipped.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
from amd_mm.arguments import KeyValues
from mmengine.config import Config

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs' / 'tinymim'
STAGES = (
    'tinymim_vit-base-p16_vit-large_16xb256-300e_in1k',
    'tinymim_vit-small-p16_vit-base_16xb256-300e_in1k',
    'tinymim_vit-tiny-p16_vit-small_16xb256-300e_in1k',
)
PRETRAIN = [CONFIGS / 'pretrain' / f'{name}.py' for name in STAGES]
FINETUNE = [
    CONFIGS / 'finetune' / f'{name.replace("16xb256-300e", "finetune_8xb128-100e")}.py'
    for name in STAGES
]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; stops at mistakes that would stop a later stage."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add('--teacher', type=Path, required=True, help='weights of the first teacher: MAE ViT-L')
    add('--data', type=Path, default=Path('data/imagenet'), help='folder with train (and val)')
    add('--gpus', type=int, default=1, help='GPUs of a stage')
    add('--out', type=Path, default=Path('work_dirs/tinymim_chain'), help='output folder')
    add(
        '--heads',
        choices=('released', 'paper'),
        default='released',
        help='attention heads of a student that becomes the teacher: those of its config (12, as '
        'released), or those that its last block was trained with (16, as in the paper)',
    )
    add('--finetune', action='store_true', help='also fine-tune every student')
    add('--configs', type=Path, nargs='+', default=PRETRAIN, help='stages, the largest first')
    add('--finetune-configs', type=Path, nargs='+', default=FINETUNE, help='one for each stage')
    add('--auto-scale-lr', action='store_true', help='scale the learning rates with the batch')
    add('--cfg-options', nargs='+', action=KeyValues, default={}, help='for every stage')
    args = parser.parse_args(arguments)
    needed = [args.teacher, args.data / 'train', *args.configs]
    if args.finetune:
        needed += [args.data / 'val', *args.finetune_configs]
        if len(args.configs) != len(args.finetune_configs):
            parser.error('--configs and --finetune-configs need the same number of configs')
    for path in needed:
        if not path.exists():
            parser.error(f'{path} does not exist')
    return args


def load_config(path: Path, options: dict[str, object]) -> Config:
    """A config with changes."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    return cfg


def run(path: Path, options: dict[str, object], args: argparse.Namespace) -> Path:
    """Train a config unless it is finished; returns its last checkpoint."""
    options = {**args.cfg_options, **options}
    folder, loop = args.out / path.stem, load_config(path, options).train_cfg
    last = f'iter_{loop.max_iters}' if 'max_iters' in loop else f'epoch_{loop.max_epochs}'
    checkpoint = folder / f'{last}.pth'
    if checkpoint.exists():
        print(f'{path.stem}: skipped, {checkpoint} exists', flush=True)
        return checkpoint
    print(f'{path.stem}: training in {folder}', flush=True)
    command = [sys.executable, str(TOOLS / 'train.py'), str(path)]
    if args.gpus > 1:
        command = ['bash', str(TOOLS / 'dist_train.sh'), str(path), str(args.gpus)]
    command += ['--work-dir', str(folder), '--resume']
    command += ['--auto-scale-lr'] if args.auto_scale_lr else []
    command += ['--cfg-options', *(f'{key}={as_text(value)}' for key, value in options.items())]
    code = subprocess.run(command).returncode
    if code or not checkpoint.exists():
        sys.exit(
            f'{path.stem} did not finish (exit status {code}); see above for the reason. '
            'The same command continues from here.'
        )
    return checkpoint


def as_text(value: object) -> str:
    """A value in the syntax of --cfg-options."""
    if isinstance(value, (list, tuple)):
        return f'[{",".join(map(as_text, value))}]'
    return str(value)


def main(arguments: list[str] | None = None) -> None:
    """Run the stages one after the other."""
    args = parse_args(arguments)
    train, val = str(args.data / 'train'), str(args.data / 'val')
    teacher, heads = args.teacher, None
    for index, path in enumerate(args.configs):
        options = {
            'model.teacher.checkpoint': str(teacher),
            'train_dataloader.dataset.data_root': train,
        }
        if heads is not None and args.heads == 'paper':
            options.update({'model.last_heads': heads, 'model.teacher.num_heads': heads})
        heads = load_config(path, {**args.cfg_options, **options}).model.last_heads
        teacher = run(path, options, args)
        if args.finetune:
            options = {
                'model.backbone.pretrained': str(teacher),
                'train_dataloader.dataset.data_root': train,
                'val_dataloader.dataset.data_root': val,
                'test_dataloader.dataset.data_root': val,
            }
            run(args.finetune_configs[index], options, args)
    print(f'The last student: {teacher}')


if __name__ == '__main__':
    main()
