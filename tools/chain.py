"""Train a chain of students, of which each teaches the next, in one command.

    python tools/chain.py tinymim --teacher mae_pretrain_vit_large.pth --gpus 8 --finetune
    python tools/chain.py pmd --gpus 8              # masks of 75, 80, 85 and 90 %
    python tools/chain.py pmd --configs FIRST.py SECOND.py ...      # another chain of videos

tinymim is ViT-L -> B -> S -> T on images; pmd is ViT-B on videos, whose first stage is VideoMAE.
Each stage is a run of tools/train.py (tools/dist_train.sh for several GPUs) below --out, whose
teacher is the last checkpoint of the stage before. Interrupted, the same command continues;
finished stages are skipped.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import _venv  # noqa: F401, first: finds the packages
import amd_mm  # noqa: F401, its import-time fixes come first
from amd_mm.arguments import KeyValues
from mmengine.config import Config

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs'


@dataclass(frozen=True)
class Stage:
    """One student.

    Attributes:
        config: Its config.
        options: Changes to the config.
        name: Its folder below --out; by default the config's name.
    """

    config: Path
    options: dict[str, object] = field(default_factory=dict)
    name: str = ''

    @property
    def folder(self) -> str:
        """Its folder below --out."""
        return self.name or self.config.stem


@dataclass(frozen=True)
class Chain:
    """Stages and their data.

    Attributes:
        stages: The first teacher's student first.
        data: Folder of the data.
        train: Folder of the training data in it.
        val: Folder of the validation data in it.
        finetune: Config of every stage that fine-tunes its student.
    """

    stages: list[Stage]
    data: Path
    train: str = ''
    val: str = ''
    finetune: list[Path] = field(default_factory=list)


def tinymim_chain() -> Chain:
    """The chain of TinyMIM's paper."""
    pairs = (('base', 'large'), ('small', 'base'), ('tiny', 'small'))
    names = [f'tinymim_vit-{student}-p16_vit-{teacher}' for student, teacher in pairs]
    folder = CONFIGS / 'tinymim'
    return Chain(
        [Stage(folder / 'pretrain' / f'{name}_16xb256-300e_in1k.py') for name in names],
        Path('data/imagenet'),
        'train',
        'val',
        [folder / 'finetune' / f'{name}_finetune_8xb128-100e_in1k.py' for name in names],
    )


def pmd_chain() -> Chain:
    """A chain after PMD: VideoMAE at 75 % masked, then AMD at 80, 85 and 90 %."""
    videomae = 'videomae/pretrain/videomae_vit-base-p16_32xb16v4-16x2x1-600e_sthv2.py'
    amd = CONFIGS / 'mvd/related/pmd_vit-base-p16_vit-base_32xb16v4-16x2x1-200e_sthv2.py'
    student, teacher = 'model.mask_generator.student_ratio', 'model.mask_generator.teacher_ratio'
    first = Stage(CONFIGS / videomae, {student: 0.75, 'train_cfg.max_epochs': 200}, 'pmd_75')
    others = [
        Stage(amd, {student: masked, teacher: before}, f'pmd_{100 * masked:.0f}')
        for before, masked in ((0.75, 0.8), (0.8, 0.85), (0.85, 0.9))
    ]
    return Chain([first, *others], Path('data/sthv2'))


CHAINS = dict(tinymim=tinymim_chain(), pmd=pmd_chain())


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; stops at mistakes that would stop a later stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('chain', choices=CHAINS, help='which chain')
    add('--teacher', type=Path, help='weights of the first teacher; TinyMIM: MAE ViT-L')
    add('--data', type=Path, help='folder of the data (default: data/imagenet, data/sthv2)')
    add('--gpus', type=int, default=1, help='GPUs of a stage (default: 1)')
    add('--out', type=Path, help='output folder (default: work_dirs/CHAIN_chain)')
    add(
        '--heads',
        choices=('released', 'paper'),
        default='released',
        help='TinyMIM: attention heads of a student that becomes the teacher: those of its config '
        '(12, as released, the default), or those that its last block was trained with (16, as in '
        'the paper)',
    )
    add('--finetune', action='store_true', help='also fine-tune every student')
    add('--configs', type=Path, nargs='+', help='other stages, the first student first')
    add('--finetune-configs', type=Path, nargs='+', help='one for each stage')
    add('--auto-scale-lr', action='store_true', help='scale the learning rates with the batch')
    add('--cfg-options', nargs='+', action=KeyValues, default={}, help='for every stage')
    args = parser.parse_args(arguments)
    chain = CHAINS[args.chain]
    args.stages = [Stage(path) for path in args.configs] if args.configs else chain.stages
    args.finetune_configs = args.finetune_configs or chain.finetune
    args.data = args.data or chain.data
    args.out = args.out or Path('work_dirs') / f'{args.chain}_chain'
    args.train, args.val = args.data / chain.train, args.data / chain.val
    needed = [args.train, *(stage.config for stage in args.stages)]
    needed += [args.teacher] if args.teacher else []
    if args.finetune:
        needed += [args.val, *args.finetune_configs]
        if len(args.stages) != len(args.finetune_configs):
            parser.error('--finetune needs --finetune-configs with one config for each stage')
    for path in needed:
        if not path.exists():
            parser.error(f'{path} does not exist')
    for number, stage in enumerate(args.stages):
        has_teacher = bool(load_config(stage.config, {}).model.get('teacher'))
        if has_teacher != bool(number or args.teacher):
            remedy = 'leave out --teacher' if args.teacher else 'give it a teacher (--teacher)'
            what = 'has a' if has_teacher else 'has no'
            parser.error(f'stage {number + 1} ({stage.config}) {what} teacher: {remedy}')
    return args


def load_config(path: Path, options: dict[str, object]) -> Config:
    """A config with changes."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    return cfg


def run(stage: Stage, args: argparse.Namespace) -> Path:
    """Train a stage unless it is finished; returns its last checkpoint."""
    options = {**args.cfg_options, **stage.options}
    folder, loop = args.out / stage.folder, load_config(stage.config, options).train_cfg
    last = f'iter_{loop.max_iters}' if 'max_iters' in loop else f'epoch_{loop.max_epochs}'
    checkpoint = folder / f'{last}.pth'
    if checkpoint.exists():
        print(f'{stage.folder}: skipped, {checkpoint} exists', flush=True)
        return checkpoint
    print(f'{stage.folder}: training in {folder}', flush=True)
    command = [sys.executable, str(TOOLS / 'train.py'), str(stage.config)]
    if args.gpus > 1:
        command = ['bash', str(TOOLS / 'dist_train.sh'), str(stage.config), str(args.gpus)]
    command += ['--work-dir', str(folder), '--resume']
    command += ['--auto-scale-lr'] if args.auto_scale_lr else []
    command += ['--cfg-options', *(f'{key}={as_text(value)}' for key, value in options.items())]
    code = subprocess.run(command).returncode
    if code or not checkpoint.exists():
        sys.exit(
            f'{stage.folder} did not finish (exit status {code}); see above for the reason. '
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
    train = {'train_dataloader.dataset.data_root': str(args.train)}
    data = {
        **train,
        'val_dataloader.dataset.data_root': str(args.val),
        'test_dataloader.dataset.data_root': str(args.val),
    }
    teacher, heads = args.teacher, None
    for index, stage in enumerate(args.stages):
        options = {**stage.options, **train}
        if teacher is not None:
            options['model.teacher.checkpoint'] = str(teacher)
        if heads is not None and args.heads == 'paper':
            options.update({'model.last_heads': heads, 'model.teacher.num_heads': heads})
        heads = load_config(stage.config, {**args.cfg_options, **options}).model.get('last_heads')
        teacher = run(replace(stage, options=options), args)
        if args.finetune:
            options = {'model.backbone.pretrained': str(teacher), **data}
            run(Stage(args.finetune_configs[index], options), args)
    print(f'The last student: {teacher}')


if __name__ == '__main__':
    main()
