import time
from types import SimpleNamespace

from amd_mm.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook, iter_timer_hook
from mmengine.runner import Runner

from ..utils import DataBatch, count_clips

# MMEngine's IterTimerHook takes the wall clock, which may be set while a run lasts.
iter_timer_hook.time = SimpleNamespace(time=time.monotonic)


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs the speed, averaged over the last iterations.

    - ``clips_per_s``: clips of all processes per second.
    - ``data_share``: share of the time spent waiting for the data loader. Above about 0.1 the
      device idles: use more workers, smaller videos (``tools/reencode_videos.py``) or a faster
      disk.

    Needs MMEngine's ``IterTimerHook``.

    Args:
        window: Iterations to average over.
    """

    priority = 55  # after IterTimerHook (NORMAL, 50), before LoggerHook (BELOW_NORMAL, 60)

    def __init__(self, window: int = 20) -> None:
        self.window = window

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Update both values."""
        hub = runner.message_hub
        if 'train/time' not in hub.log_scalars:
            return
        seconds = float(hub.get_scalar('train/time').mean(self.window))
        waiting = float(hub.get_scalar('train/data_time').mean(self.window))
        if seconds > 0:
            clips = count_clips(data_batch) * get_world_size()
            hub.update_scalar('train/clips_per_s', clips / seconds)
            hub.update_scalar('train/data_share', waiting / seconds)
