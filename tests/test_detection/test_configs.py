"""Detection configs in testing, as they are but smaller.

That each builds and makes a training step is in tests/test_configs.
"""

import pytest
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner

from ..test_configs.shrink_detection import make_ava, shrink_detection
from .tiny_detector import DETECTION


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_ava(tmp_path_factory.mktemp('ava'))


@pytest.mark.parametrize(
    'name', ['small-p16_8xb16-16x4x1-30e_ava22', 'base-p16_8xb16-16x4x1-30e_ava-kinetics-rawframes']
)
def test_builds_and_tests(name, data):
    cfg = Config.fromfile(DETECTION / f'amd_vit-{name}.py')
    cfg = shrink_detection(cfg, data)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    evaluator = Evaluator(cfg.test_evaluator)
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    for batch in loader:
        # A short side of 80 pixels of a frame of 64 x 48.
        assert batch['inputs'][0].shape == (3, 4, 80, 107)
        with torch.no_grad():
            samples = model.test_step(batch)
        found = samples[0].pred_instances
        assert found.scores.shape == (2, 81)
        # Padding to 112 columns moves no box.
        truth = samples[0].gt_instances.bboxes / torch.tensor([107, 80, 107, 80])
        torch.testing.assert_close(found.bboxes, truth.float(), atol=0.03, rtol=0)
        evaluator.process(samples, batch)
    metrics = evaluator.evaluate(len(loader))
    assert {'mAP/overall', 'mAP/1_stand'} < set(metrics)
