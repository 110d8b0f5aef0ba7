import random

import numpy as np
import torch
from amd_mm.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..utils import DataBatch


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seeds every training step from (seed, iteration, rank).

    MMEngine does not restore random states on resume. With this hook, stochastic depth, dropout
    and mix-up of a resumed run equal those of an uninterrupted one, and differ between processes.
    Masks and data have such seeds of their own.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DataBatch = None
    ) -> None:
        """Seed ``random``, NumPy and torch."""
        entropy = (abs(int(runner.seed)), runner.iter, get_rank())
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
