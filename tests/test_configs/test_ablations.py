"""An ablation differs from its base in what it is about, and in no more."""

from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

from .shrink import CONFIGS

pytestmark = pytest.mark.no_cover
ABSENT = '(not there)'
BASES = dict(
    amd='amd/pretrain/amd_vit-base-p16_vit-large_32xb64-16x2x1-800e_sthv2.py',
    dmae='dmae/pretrain/dmae_vit-base-p16_vit-large_released_16xb256-100e_in1k.py',
    tinymim='tinymim/pretrain/tinymim_vit-base-p16_vit-large_16xb256-300e_in1k.py',
)
STUDENT = 'model.mask_generator.student_ratio'
TEACHER = 'model.mask_generator.teacher_ratio'
NECK = 'model.neck.type'
DIRECT = {NECK: 'amd_mm.DirectAlignment', 'model.neck.generator_depth': ABSENT}
RELATIONS = 'model.head.relations'


def layers(*pairs: tuple) -> dict:
    return {'model.layer_pairs': list(pairs)}


def features(tokens: str) -> dict:
    """TinyMIM without relations, and so without heads to agree on."""
    return {
        'model.head.type': 'amd_mm.FeatureTargetHead',
        'model.head.relations': ABSENT,
        'model.head.tokens': tokens,
        'model.last_heads': None,
        'model.teacher.num_heads': None,
    }


# {name without the algorithm, model and data: {key: value}}, all of them.
DIFFERENCES: dict[str, dict[str, dict]] = dict(
    amd={
        'half-targets': {
            'model.mask_generator.decoder_ratio': 0.5,
            'model.mask_generator.generator_ratio': 0.5,
        },
        'neck-direct': DIRECT,
        'neck-generation': {NECK: 'amd_mm.GenerationAlignment'},
        'neck-parallel': {NECK: 'amd_mm.ParallelAlignment'},
        'neck-serial': {},  # the default
        'no-reconstruction': {'model.rec_weight': 0.0, 'model.decoder': None, 'model.head': None},
        'student-ratio-80': {STUDENT: 0.8},
        'layers-12': layers((12, 24)),
        'layers-4-8-12': layers((4, 8), (8, 16), (12, 24)),
        'layers-6': layers((6, 12)),
        'teacher-ratio-00': {TEACHER: 0.0},
        'teacher-ratio-25': {TEACHER: 0.25},
        'teacher-ratio-45': {TEACHER: 0.45},
        'teacher-ratio-60': {TEACHER: 0.6},
        'teacher-ratio-75': {},  # the default
        'teacher-ratio-90': {TEACHER: 0.9, **DIRECT},
    },
    dmae={
        'loss-l2': {'model.neck.loss.distance': 'l2'},
        'mask-90': {STUDENT: 0.9},
        'mask-95': {STUDENT: 0.95},
        'mask-98': {STUDENT: 0.98},
        'projection-mlp': {'model.neck.hidden': True},
        'layers-12': layers((12, 24)),
        'layers-3': layers((3, 6)),
        # DMAE sums over the layers, AMD averages.
        'layers-6-12': {**layers((6, 12), (12, 24)), 'model.direct_weight': 2.0},
        'layers-6': layers((6, 12)),
        'weight-2': {'model.direct_weight': 2.0},
    },
    tinymim={
        'drop-path-00': {'model.backbone.layer_cfgs': [dict(drop_path_rate=0.0)] * 12},
        'masked-input': {
            'model.mask_generator': dict(
                type='amd_mm.AsymmetricRandomMaskGenerator', student_ratio=0.75
            )
        },
        'relations-qk': {RELATIONS: ['qk']},
        'relations-qq-kk-vv': {RELATIONS: ['qq', 'kk', 'vv']},
        'relations-vv': {RELATIONS: ['vv']},
        'target-class-token': features('class'),
        'target-features': features('all'),
        'teacher-block-12': {'model.teacher.block': 12},
        'teacher-block-24': {'model.teacher.block': 24},
        'teacher-drop-path': {'model.teacher.backbone.drop_path_rate': 0.1},
    },
)
CASES = [(algorithm, name) for algorithm in BASES for name in DIFFERENCES[algorithm]]


def differences(mine: object, theirs: object, key: str = '') -> dict:
    """Dotted keys whose values are not the same, and mine; lists are one."""
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return {} if mine == theirs else {key: mine}
    found = {}
    for name in {**theirs, **mine}:
        found.update(
            differences(
                mine.get(name, ABSENT), theirs.get(name, ABSENT), f'{key}.{name}' if key else name
            )
        )
    return found


@cache
def read(path: Path) -> dict:
    return Config.fromfile(path).to_dict()


def ablation(algorithm: str, name: str) -> Path:
    data = 'sthv2' if algorithm == 'amd' else 'in1k'
    return CONFIGS / (f'{algorithm}/ablation/{algorithm}_ablation_{name}_vit-base_{data}.py')


@pytest.mark.parametrize('algorithm, name', CASES)
def test_ablation_differs_in_what_it_is_about(algorithm, name):
    mine = read(ablation(algorithm, name))
    found = differences(mine, read(CONFIGS / BASES[algorithm]))
    assert found == DIFFERENCES[algorithm][name]


def test_paper_s_tinymim_has_one_view():
    mine = read(ablation('tinymim', 'no-jitter'))
    theirs = read(CONFIGS / BASES['tinymim'])
    key = 'train_dataloader.dataset.pipeline'
    pipeline = theirs['train_dataloader']['dataset']['pipeline']
    one_view = [t for t in pipeline if t['type'] != 'mmpretrain.MultiView']
    assert differences(mine, theirs) == {key: one_view}
    assert len(one_view) == len(pipeline) - 1


def test_hard_logits_differ_from_soft_in_the_kind():
    hard, soft = (read(ablation('dmae', f'finetune-{kind}-logits')) for kind in ('hard', 'soft'))
    assert differences(hard, soft) == {'model.kind': 'hard'}


def test_every_ablation_is_here():
    elsewhere = {
        ablation('tinymim', 'no-jitter'),
        ablation('dmae', 'finetune-hard-logits'),
        # Other tasks than their folder's base: what they build is tested.
        ablation('dmae', 'finetune-soft-logits'),
        ablation('dmae', 'finetune-features'),
    }
    listed = {ablation(*case) for case in CASES}
    assert listed | elsewhere == set(CONFIGS.glob('*/ablation/*.py'))


@pytest.mark.parametrize(
    'path', sorted((CONFIGS / 'amd/pretrain').glob('*-rawframes.py')), ids=lambda path: path.stem
)
def test_raw_frames_differ_from_videos_in_the_data(path):
    videos = path.with_name(path.name.replace('-rawframes', ''))
    changed = differences(read(path), read(videos))
    data = 'train_dataloader.dataset.'
    assert data + 'pipeline' in changed
    # SSV2's configs name the pipeline.
    assert all(key.startswith(data) or key == 'pipeline' for key in changed)
