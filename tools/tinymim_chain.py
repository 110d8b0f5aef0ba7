"""TinyMIM's sequential distillation, ViT-L -> B -> S -> T, in one command.

    python tools/tinymim_chain.py --teacher mae_pretrain_vit_large.pth \
        --data data/imagenet --gpus 8 --finetune

Each stage is an ordinary run of tools/train.py (tools/dist_train.sh for
several GPUs) below --out, taught by the last checkpoint of the stage before.
The same command goes on where it was interrupted; what is finished is not done
again.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import amd_mm  # noqa: F401, first: its import-time fixes serve what follows
from mmengine.config import Config, DictAction

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs' / 'tinymim'
STAGES = (
    'tinymim_vit-base-p16_vit-large_16xb256-300e_in1k',
    'tinymim_vit-small-p16_vit-base_16xb256-300e_in1k',
    'tinymim_vit-tiny-p16_vit-small_16xb256-300e_in1k',
)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        '--teacher',
        type=Path,
        required=True,
        help='weights of the first teacher: MAE ViT-L, encoder only',
    )
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data/imagenet'),
        help='folder with train (and val, for --finetune)',
    )
    parser.add_argument('--gpus', type=int, default=1, help='GPUs of a stage')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/tinymim_chain'),
        help='where the runs go, a folder for each',
    )
    parser.add_argument(
        '--heads',
        choices=('released', 'paper'),
        default='released',
        help='how a student is read as a teacher: with the heads that its '
        'configs name (12, as released), or with those with which its own '
        'last block was trained (16, as in the paper)',
    )
    parser.add_argument(
        '--finetune',
        action='store_true',
        help='fine-tune every student as well, right after it is ready',
    )
    parser.add_argument(
        '--configs',
        type=Path,
        nargs='+',
        default=[CONFIGS / 'pretrain' / f'{name}.py' for name in STAGES],
        help='pre-training configs of the stages, the largest first',
    )
    parser.add_argument(
        '--finetune-configs',
        type=Path,
        nargs='+',
        default=[
            CONFIGS / 'finetune' / f'{name.replace("16xb256-300e", "finetune_8xb128-100e")}.py'
            for name in STAGES
        ],
        help='fine-tuning configs, one a stage',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rates with the images of a step',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='changes to the config of every stage',
    )
    return check(parser, parser.parse_args(arguments))


def check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """Stop, before anything runs, at what would stop a later stage."""
    splits = ('train', 'val') if args.finetune else ('train',)
    configs = args.configs + (args.finetune_configs if args.finetune else [])
    needed = [args.teacher, *configs, *(args.data / name for name in splits)]
    for path in needed:
        if not path.exists():
            parser.error(f'{path} is not there; see --help')
    if args.finetune and len(args.configs) != len(args.finetune_configs):
        parser.error(
            f'{len(args.configs)} stages (--configs) and '
            f'{len(args.finetune_configs)} --finetune-configs: '
            'give one for each'
        )
    if args.gpus < 1:
        parser.error(f'--gpus is at least 1, got {args.gpus}')
    return args


def load(path: Path, options: dict[str, object]) -> Config:
    """A config, with the changes."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    return cfg


def last_checkpoint(cfg: Config, folder: Path) -> Path:
    """The checkpoint of a run that is finished."""
    if 'max_iters' in cfg.train_cfg:
        return folder / f'iter_{cfg.train_cfg.max_iters}.pth'
    return folder / f'epoch_{cfg.train_cfg.max_epochs}.pth'


def run(path: Path, options: dict[str, object], args: argparse.Namespace) -> Path:
    """Run a config, or what is left of it, or nothing.

    Args:
        path (Path): The config.
        options (Dict[str, object]): What to change in it.
        args (argparse.Namespace): The command line.

    Returns:
        Path: Its last checkpoint.
    """
    options = {**args.cfg_options, **options}
    folder = args.out / path.stem
    result = last_checkpoint(load(path, options), folder)
    if result.exists():
        print(f'{path.stem}: finished before, {result}', flush=True)
        return result
    print(f'{path.stem}: starts, in {folder}', flush=True)
    start = [sys.executable, str(TOOLS / 'train.py'), str(path)]
    if args.gpus > 1:
        start = ['bash', str(TOOLS / 'dist_train.sh'), str(path), str(args.gpus)]
    command = [*start, '--work-dir', str(folder)]
    if (folder / 'last_checkpoint').exists():
        command.append('--resume')
    if args.auto_scale_lr:
        command.append('--auto-scale-lr')
    command += ['--cfg-options']
    command += [f'{key}={_text(value)}' for key, value in options.items()]
    done = subprocess.run(command)
    if done.returncode or not result.exists():
        sys.exit(
            f'{path.stem} did not finish (exit status '
            f'{done.returncode}, no {result}). What went wrong is above; '
            'the same command goes on from here.'
        )
    return result


def _text(value: object) -> str:
    """As --cfg-options reads it."""
    if isinstance(value, (list, tuple)):
        return '[' + ','.join(map(_text, value)) + ']'
    return str(value)


def main(arguments: list[str] | None = None) -> None:
    """Run the stages, one after the other."""
    args = parse_args(arguments)
    teacher, heads = args.teacher, None
    for index, path in enumerate(args.configs):
        options = {
            'model.teacher.checkpoint': str(teacher),
            'train_dataloader.dataset.data_root': str(args.data / 'train'),
        }
        if heads is not None and args.heads == 'paper':
            options.update({'model.last_heads': heads, 'model.teacher.num_heads': heads})
        heads = load(path, {**args.cfg_options, **options}).model.last_heads
        teacher = run(path, options, args)
        if args.finetune:
            roots = {
                f'{split}_dataloader.dataset.data_root': str(
                    args.data / ('train' if split == 'train' else 'val')
                )
                for split in ('train', 'val', 'test')
            }
            run(
                args.finetune_configs[index],
                {'model.backbone.pretrained': str(teacher), **roots},
                args,
            )
    print(f'The last student: {teacher}')


if __name__ == '__main__':
    main()
