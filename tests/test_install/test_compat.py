"""``import amd_mm`` is light, and mends what it says it mends."""

import ast
import json
import sys
from pathlib import Path

import pytest
import torch

from .conftest import REPOSITORY, RunPython, run, succeed
from .packages import made_once

HEAVY = (
    'cv2',
    'decord',
    'mmaction',
    'mmcv',
    'mmdet',
    'mmpretrain',
    'pandas',
    'scipy',
    'torchvision',
)

ONE_STEP = 'from amd_mm.doctor import check_pretraining as c; print(c()); '
BENCHMARKS = REPOSITORY / 'tools' / 'benchmarks'
AMD = REPOSITORY / 'configs' / 'quickstart' / 'quickstart_amd_student.py'
BENCHMARK = (
    f'import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); '
    'import recognition, pretrain_step as tool; '
    f'args = tool.parse_args([{str(AMD)!r}, "--batch", "1"]); '
    'print("loss", tool.Step(tool.PLAIN, args)(), tool.Step(tool.OURS, args)())'
)


def test_import_is_light(python_without: RunPython) -> None:
    code = f'import amd_mm, json, sys; print(json.dumps([n for n in {HEAVY} if n in sys.modules]))'
    assert json.loads(succeed(python_without()('-c', code))) == []


@pytest.mark.parametrize(
    'missing', [('mmcv._ext',), ('mmdet', 'decord', 'mmcv._ext', 'pycocotools', 'av')]
)
def test_pretraining_step_without(python_without: RunPython, missing: tuple) -> None:
    gone = (
        'import importlib.util as util, mmcv, torch; '
        f'assert not any(map(util.find_spec, {missing})); '
    )
    printed = succeed(python_without(*missing)('-c', gone + ONE_STEP + BENCHMARK))
    assert 'step' in printed and 'loss tensor(' in printed


@pytest.fixture(scope='session')
def numpy_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with numpy 2, as pip downloads it; the environment has 1.26."""

    def download(folder: Path) -> None:
        pip = [sys.executable, '-m', 'pip', 'install', '--no-deps']
        answer = run([*pip, '--target', folder, 'numpy>=2,<3'], folder)
        if answer.returncode:
            pytest.skip(f'pip gets no numpy 2: {answer.stderr[-300:]}')

    return made_once(tmp_path_factory, 'numpy_2', download)


@pytest.mark.skipif(torch.__version__ < (2, 3), reason='PyTorch before 2.3 wants numpy 1')
def test_pretraining_step_on_numpy_2(python_without: RunPython, numpy_2: Path) -> None:
    code = (
        f'import sys; sys.path.insert(0, {str(numpy_2)!r}); '
        "import numpy; print('numpy', numpy.__version__); "
    )
    run_python = python_without('mmdet', 'decord', 'mmcv._ext')
    printed = succeed(run_python('-c', code + ONE_STEP + BENCHMARK))
    assert 'numpy 2.' in printed
    assert 'step' in printed and 'loss tensor(' in printed


@pytest.mark.parametrize('missing', [('mmengine',), ('torch',), ('mmaction', 'torchvision')])
def test_import_where_a_host_is_missing(python_without: RunPython, missing: tuple) -> None:
    succeed(python_without(*missing)('-c', 'import amd_mm'))


def test_mmaction_and_torchvision_import(python_without: RunPython) -> None:
    code = (
        'import amd_mm, torchvision, mmaction.models; '
        'from mmaction.models.localizers import DRN; DRN()'
    )
    result = python_without()('-c', code)
    assert 'DRN is missing from the installed MMAction2' in result.stderr


def test_stand_in_leaves_a_real_drn_alone(tmp_path: Path) -> None:
    drn = tmp_path / 'mmaction' / 'models' / 'localizers' / 'drn'
    drn.mkdir(parents=True)
    (tmp_path / 'mmaction' / '__init__.py').touch()
    code = "import amd_mm, sys; assert 'mmaction.models.localizers.drn' not in sys.modules"
    succeed(run([sys.executable, '-c', code], REPOSITORY, PYTHONPATH=tmp_path))


def test_set_device_is_left_alone_without_launcher(python_without: RunPython) -> None:
    code = "import amd_mm, torch; print(torch.cuda.set_device.__name__ == 'set_device')"
    assert 'True' in succeed(python_without()('-c', code))


def test_launcher_without_cuda(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA')
    code = (
        'import amd_mm; from mmengine.dist import init_dist; '
        "init_dist('pytorch', backend='gloo'); print('started')"
    )
    output = run(
        [sys.executable, '-c', code],
        tmp_path,
        PYTHONPATH=str(REPOSITORY),
        RANK='0',
        LOCAL_RANK='0',
        WORLD_SIZE='1',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT='0',
    )
    assert 'started' in succeed(output)


def test_fixes_can_be_applied_twice(python_without: RunPython) -> None:
    code = (
        'import amd_mm; from mmengine.config import Config; path = Config._get_cfg_path; '
        'amd_mm.apply_import_fixes(); import torchvision; assert Config._get_cfg_path is path'
    )
    succeed(python_without()('-c', code))


# Names that code from the time of numpy 1 uses and numpy 2 does not have.
GONE_FROM_NUMPY = {
    'NAN',
    'NaN',
    'Inf',
    'Infinity',
    'infty',
    'PINF',
    'NINF',
    'float_',
    'complex_',
    'unicode_',
    'string_',
    'bool8',
    'int0',
    'uint0',
    'object0',
    'product',
    'cumproduct',
    'sometrue',
    'alltrue',
    'in1d',
    'row_stack',
    'trapz',
    'msort',
    'round_',
    'asfarray',
    'find_common_type',
    'cast',
    'issctype',
    'maximum_sctype',
    'mat',
    'set_string_function',
    'source',
}


@pytest.mark.parametrize('folder', ['amd_mm', 'tools', 'configs'])
def test_sources_use_nothing_that_numpy_2_removed(folder: str) -> None:
    for path in (REPOSITORY / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == 'np'
            ):
                assert node.attr not in GONE_FROM_NUMPY, (path, node.lineno)
