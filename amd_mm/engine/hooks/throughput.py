from amd_mm.registry import HOOKS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..utils import DataBatch, count_clips, logger_is_due


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Puts speed into every log line.

    - ``clips_per_s``: clips trained on per second since the line before, over
      all processes (they run in step, so this one's count times their number).
    - ``data_share``: the share of that time spent waiting for the data loader.
      Above about 0.1 the device is idle: more workers, smaller videos
      (``tools/reencode_videos.py``) or a faster disk.

    Both rest on MMEngine's ``IterTimerHook``, which also gives the ETA.
    """

    # After IterTimerHook (NORMAL, 50), before LoggerHook (BELOW_NORMAL, 60).
    priority = 55

    def before_train(self, runner: Runner) -> None:
        """Start counting."""
        self._reset()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict | None = None,
    ) -> None:
        """Count the step; if a log line is due, give it the speed."""
        hub = runner.message_hub
        if 'train/time' not in hub.log_scalars:  # no IterTimerHook
            return
        self._clips += count_clips(data_batch)
        self._time += float(hub.get_scalar('train/time').current())
        self._data_time += float(hub.get_scalar('train/data_time').current())
        if not logger_is_due(runner, batch_idx) or self._time <= 0:
            return
        if self._clips:
            hub.update_scalar('train/clips_per_s', self._clips * get_world_size() / self._time)
        hub.update_scalar('train/data_share', self._data_time / self._time)
        self._reset()

    def _reset(self) -> None:
        self._clips, self._time, self._data_time = 0, 0.0, 0.0
