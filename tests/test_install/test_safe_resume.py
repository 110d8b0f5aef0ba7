"""MMEngine's checkpoints load safely, and hostile files are still refused."""

import os
import sys
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from amd_mm.utils.checked_pickle import admit_harmless_objects
from mmengine.logging import HistoryBuffer

from .conftest import REPOSITORY, run, succeed

needs_safe_loading = pytest.mark.skipif(
    torch.__version__ < (2, 6), reason='torch.load is not safe by default'
)

TRAIN = """
import sys
import torch
import amd_mm
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Line(BaseModel):

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        return dict(loss=self.line(torch.stack(inputs)).square().mean())


runner = Runner(
    model=Line(),
    work_dir='work_dir',
    resume=sys.argv[2] == 'resume',
    train_dataloader=dict(
        dataset=[dict(inputs=torch.ones(2))] * 4,
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=True)),
    train_cfg=dict(by_epoch=True, max_epochs=int(sys.argv[1])),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=.1)),
    param_scheduler=dict(type='CosineAnnealingLR', T_max=4),
    default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
    custom_hooks=[dict(type='EMAHook')])
runner.train()
print('iterations', runner.iter)
"""


@needs_safe_loading
def test_resume_in_a_fresh_process(tmp_path: Path) -> None:
    (tmp_path / 'train.py').write_text(TRAIN)
    environment = dict(PYTHONPATH=str(REPOSITORY))
    environment['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '0'
    command = [sys.executable, 'train.py']
    succeed(run([*command, 1, 'start'], tmp_path, **environment))
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / 'work_dir' / 'epoch_1.pth')
    for epochs in (2, 3):  # the second one resumes what a resumed run wrote
        output = run([*command, epochs, 'resume'], tmp_path, **environment)
        assert f'resumed epoch: {epochs - 1}' in output.stdout + output.stderr
        assert f'iterations {2 * epochs}' in succeed(output)


def read(path: Path) -> dict:
    with admit_harmless_objects():
        return torch.load(path)


@needs_safe_loading
@pytest.mark.parametrize(
    'value',
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
        np.array([], dtype='f4'),
        np.float64(0.5),
        np.int32(-3),
        np.bool_(True),
    ],
)
def test_numbers_are_read_as_they_were(tmp_path: Path, value: object) -> None:
    torch.save(dict(value=value), tmp_path / 'file.pth')
    found = read(tmp_path / 'file.pth')['value']
    assert np.array_equal(found, value)
    assert found.dtype == value.dtype.newbyteorder('=')
    # What was read is written as a plain array again.
    torch.save(dict(value=found), tmp_path / 'again.pth')
    again = torch.load(tmp_path / 'again.pth', weights_only=False)['value']
    assert type(again) is type(value)


@needs_safe_loading
def test_history_is_read_as_one(tmp_path: Path) -> None:
    history = HistoryBuffer([1.0, 2.0, 4.0], [1, 1, 2])
    torch.save(dict(history=history), tmp_path / 'file.pth')
    found = read(tmp_path / 'file.pth')['history']
    assert type(found) is HistoryBuffer
    assert type(found.data[0]) is np.ndarray
    assert found.mean() == history.mean()
    assert found.statistics('max') == 4


class Reduces:
    """Pickles as a call of the function given."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


class StructuredType:
    """Pickles as ``numpy.dtype`` with a memory layout of its own."""

    def __reduce__(self) -> tuple:
        state = (3, '<', None, ('a',), {'a': ('O', 0)}, 8, 8, 63)
        return np.dtype, ('f8',), state


@needs_safe_loading
@pytest.mark.parametrize(
    'hostile',
    [
        Reduces(os.system, 'touch {}'),
        Reduces(exec, 'open({!r}, "w")'),
        Reduces(getattr, torch.nn.Module, 'forward'),
        Reduces(getattr, HistoryBuffer, '__class__'),
        Reduces(getattr, np.ndarray, 'tofile'),
        np.array([None], dtype=object),
        np.zeros(2, dtype=[('a', 'O'), ('b', 'f8')]),
        np.array(['text']),
        StructuredType(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hostile_files_are_refused(tmp_path: Path, hostile: object) -> None:
    mark = tmp_path / 'mark'
    if isinstance(hostile, Reduces):
        function, arguments = hostile.call
        hostile.call = (
            function,
            tuple(word.format(str(mark)) if isinstance(word, str) else word for word in arguments),
        )
    torch.save(dict(value=hostile), tmp_path / 'file.pth')
    with pytest.raises(UnpicklingError):
        read(tmp_path / 'file.pth')
    assert not mark.exists()


@needs_safe_loading
def test_allow_list_of_the_process_is_restored(tmp_path: Path) -> None:
    mine = (np.dtype, 'numpy.dtype')
    torch.serialization.add_safe_globals([mine, Reduces])
    before = set(torch.serialization.get_safe_globals())
    try:
        torch.save(dict(value=np.arange(3.0)), tmp_path / 'file.pth')
        assert np.array_equal(read(tmp_path / 'file.pth')['value'], [0, 1, 2])
        with pytest.raises(UnpicklingError), admit_harmless_objects():
            raise UnpicklingError
        assert set(torch.serialization.get_safe_globals()) == before
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(list(before - {mine, Reduces}))
