"""``import amd_mm`` is light, and mends what it says it mends."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from amd_mm import compat, mmcv_operators

from .conftest import REPOSITORY, RunPython, run, succeed
from .packages import made_once

TOOLS = REPOSITORY / 'tools'
HOSTS = ('cv2', 'decord', 'mmaction', 'mmcv', 'mmdet', 'mmpretrain', 'pandas', 'scipy')
LIGHT = f"""
import json, sys, time
import torch, mmengine
started = time.process_time()
import amd_mm
seconds = time.process_time() - started
from mmengine.config import Config
path, device = Config._get_cfg_path, torch.cuda.set_device.__name__
amd_mm.apply_import_fixes()
assert Config._get_cfg_path is path and device == 'set_device'
sys.path.insert(0, {str(TOOLS)!r})
for tool in ('train', 'test'):
    try:
        __import__(tool).main(['--help'])
    except SystemExit:
        pass
print(json.dumps([seconds, [name for name in {HOSTS} if name in sys.modules]]))
"""

ONE_STEP = 'from amd_mm.doctor import check_pretraining as c; print(c()); '
AMD = REPOSITORY / 'configs' / 'quickstart' / 'quickstart_amd_student.py'
BENCHMARK = (
    f'import sys; sys.path.insert(0, {str(TOOLS / "benchmarks")!r}); '
    'import recognition, pretrain_step as tool; '
    f'args = tool.parse_args([{str(AMD)!r}, "--batch", "1"]); '
    'print("loss", tool.Step(tool.PLAIN, args)(), tool.Step(tool.OURS, args)())'
)


def test_import_and_help_are_light(python_without: RunPython) -> None:
    seconds, hosts = json.loads(succeed(python_without()('-c', LIGHT)).splitlines()[-1])
    assert hosts == []
    assert seconds < 0.3  # of processor time; 0.01 is usual


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
def test_pretraining_step_on_numpy_2_with_little_else(
    python_without: RunPython, numpy_2: Path
) -> None:
    missing = ('mmdet', 'decord', 'mmcv._ext', 'pycocotools', 'av')
    code = (
        f'import sys; sys.path.insert(0, {str(numpy_2)!r}); '
        "import numpy, mmcv, importlib.util as util; print('numpy', numpy.__version__); "
        f'assert not any(map(util.find_spec, {missing})); '
    )
    printed = succeed(python_without(*missing)('-c', code + ONE_STEP + BENCHMARK))
    assert 'numpy 2.' in printed
    assert 'step' in printed and 'loss tensor(' in printed


@pytest.mark.parametrize('missing', [('mmengine',), ('torch',), ('mmaction', 'torchvision')])
def test_import_where_a_host_is_missing(python_without: RunPython, missing: tuple) -> None:
    succeed(python_without(*missing)('-c', 'import amd_mm'))


def test_mmaction_and_torchvision_import() -> None:
    import torchvision  # noqa: F401
    from mmaction.models.localizers import DRN

    with pytest.raises(ImportError, match='DRN is missing from the installed MMAction2'):
        DRN()


@pytest.mark.parametrize('real', [True, False])
def test_stand_ins_leave_real_modules_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: bool
) -> None:
    (tmp_path / 'models' / 'localizers').mkdir(parents=True)
    if real:
        (tmp_path / 'models' / 'localizers' / 'drn').mkdir()
        (tmp_path / '_ext.so').touch()
    monkeypatch.setattr(compat, '_folder', lambda package: tmp_path)
    names = ('mmaction.models.localizers.drn', 'mmaction.models.localizers.drn.drn', 'mmcv._ext')
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # undone after the test
        del sys.modules[name]
    compat.stand_in_for_mmaction_drn()
    compat.stand_in_for_mmcv_operators()
    assert [name in sys.modules for name in names] == [not real] * 3
    assert real or sys.modules['mmcv._ext'] is mmcv_operators


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has CUDA')
def test_launcher_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, 'set_device', torch.cuda.set_device)
    monkeypatch.setenv('LOCAL_RANK', '0')
    compat.allow_launchers_without_cuda()
    torch.cuda.set_device(0)


def test_hosts_import_beside_a_current_transformers(tmp_path, monkeypatch) -> None:
    name = 'mmpretrain.models.multimodal'
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'transformers', raising=False)
    monkeypatch.setattr(sys, 'modules', dict(sys.modules))
    source = tmp_path / 'transformers' / 'modeling_utils.py'
    source.parent.mkdir()
    (source.parent / '__init__.py').touch()
    for text, replaced in (('apply_chunking_to_forward = 1', False), ('class Moved: ...', True)):
        sys.modules.pop(name, None)
        source.write_text(text)
        compat.stand_in_for_multimodal_models()
        assert (name in sys.modules) == replaced
