"""The examples of docs/composing.md and docs/extending.md run.

All examples run in a folder that is not the repository, with the package
from the wheel, two steps each and in one process.
"""

import json
import re
from pathlib import Path

import pytest
import torch

from tests.test_install.packages import made_once, run, source_tree, succeed, wheel, wheel_python  # noqa: F401, most are fixtures

from .inputs import EXAMPLES, write_checkpoints, write_data
from .pages import code_of, write_files

pytest.importorskip('mmdet', reason='one of the examples is a detector')

WALK = Path(__file__).with_name('walk.py')
COMPOSING, EXTENDING = code_of('composing.md'), code_of('extending.md')
Walked = tuple[Path, dict]  # the folder, and what walk.py reports
CONFIGS = [
    Path(name).stem for name, code in {**COMPOSING, **EXTENDING}.items() if '\n_base_ = ' in code
]


def test_every_example_is_run_and_is_short() -> None:
    assert set(CONFIGS) == set(EXAMPLES)
    for name, code in COMPOSING.items():
        assert len(code.splitlines()) <= 26, f'{name}: 25 lines and its name'


def walk(python: Path, folder: Path) -> None:
    """Train with every example in a folder, and write ``report.json``."""
    write_files({**COMPOSING, **EXTENDING}, folder)
    write_data(folder)
    write_checkpoints(folder)
    plan = folder / 'plan.json'
    plan.write_text(json.dumps(EXAMPLES))
    printed = succeed(
        run(
            [python, '-W', 'ignore', WALK, plan, 'test_mine.py'],
            folder,
            PYTHONPATH=str(folder),
            OMP_NUM_THREADS='1',
        )
    )
    (folder / 'report.json').write_text(printed.splitlines()[-1])


@pytest.fixture(scope='session')
def walked(
    wheel_python: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Walked:
    """The folder of all examples, and the report of their runs."""
    folder = made_once(tmp_path_factory, 'elsewhere', lambda new: walk(wheel_python, new))
    report = json.loads((folder / 'report.json').read_text())
    # Neither the checkout nor its editable install.
    assert wheel_python.parents[2] in Path(report['package']).parents
    return folder, report


@pytest.mark.parametrize('config', CONFIGS)
def test_example_trains_two_steps(config: str, walked: Walked) -> None:
    folder, report = walked
    assert report['results'][config] == ''
    logs = ''.join(path.read_text() for path in (folder / 'work_dirs' / config).glob('*/*.log'))
    losses = re.findall(r'\bloss: ([\d.]+|nan|inf)', logs)
    assert len(losses) == 2 and 'nan' not in losses
    assert 'Failed to search registry' not in logs


def saved(folder: Path, config: str) -> dict[str, torch.Tensor]:
    (path,) = (folder / 'work_dirs' / config).glob('*_*.pth')
    return torch.load(path, weights_only=False)['state_dict']


def test_students_start_from_their_checkpoints(walked: Walked) -> None:
    """At the start of the warm-up, weights hardly move."""
    folder, _ = walked
    name = 'backbone.patch_embed.projection.weight'
    for config in ('in_mmpretrain', 'in_mmdet'):
        path = folder / 'checkpoints' / 'student-image.pth'
        start = torch.load(path)['state_dict'][name]
        torch.testing.assert_close(saved(folder, config)[name], start, atol=5e-3, rtol=0)


def test_parts_of_the_user_s_are_in_the_checkpoints(walked: Walked) -> None:
    folder, _ = walked
    mine = saved(folder, 'with_my_neck')
    assert mine['neck.linears.1.weight'].shape == (64, 48)
    shared = saved(folder, 'with_my_lab')
    one, other = (shared[f'neck.projections.{i}.weight'] for i in (0, 1))
    assert torch.equal(one, other)
    assert 'neck.trunk.0.weight' in saved(folder, 'extended')


def test_tests_on_the_page_pass(walked: Walked) -> None:
    assert walked[1]['tests'] == 0
