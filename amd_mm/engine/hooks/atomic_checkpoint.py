import math
import os.path as osp
from glob import escape, glob

from amd_mm.checkpoints import make_plain, restore_log_history, write_atomically
from amd_mm.checkpoints.io import ATOMIC_BACKEND, PARTIAL_SUFFIX
from amd_mm.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for runs that may be killed at any time.

    Local files are written atomically: the checkpoint, then ``last_checkpoint``. Only then old
    checkpoints are removed (those of ``save_best`` too), so a run that is killed in between leaves
    one more than ``max_keep_ckpts``. Checkpoints hold tensors and plain containers, see
    :func:`make_plain`. They do not hold the gradients of an unfinished step
    (``accumulative_counts``): the log warns if a checkpoint would fall inside of a step.
    """

    def before_train(self, runner: Runner) -> None:
        """Warn about unfinished steps, and remove half-written files."""
        super().before_train(runner)
        counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
        epoch = len(runner.train_dataloader) if self.by_epoch else 1
        batches = self.interval * epoch
        if self.interval > 0 and batches % counts:
            runner.logger.warning(
                f'optim_wrapper.accumulative_counts={counts} does not divide the {batches} '
                'batches between two checkpoints. Checkpoints inside of a step lack its '
                f'gradients, so a resumed run differs. Use a divisor of {batches}, or make '
                'default_hooks.checkpoint.interval a multiple of '
                f'{counts // math.gcd(epoch, counts)}'
            )
        if type(self.file_backend) is LocalBackend:  # others (s3://) write atomically
            self.backend_args = dict(backend=ATOMIC_BACKEND)
            for folder in {self.out_dir, runner.work_dir}:
                for path in glob(osp.join(escape(folder), '*' + PARTIAL_SUFFIX)):
                    runner.logger.info(f'Removing {path}, which an interrupted run left.')
                    self._remove(path)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace the objects of MMEngine and NumPy, see :func:`make_plain`."""
        checkpoint.update(make_plain(checkpoint))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the log history for MMEngine."""
        restore_log_history(checkpoint)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        oldest = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                oldest = self._path_of(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self._path_of(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            self.filename_tmpl.format(step),
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(osp.join(runner.work_dir, 'last_checkpoint'), self.last_ckpt.encode())
        self._remove(oldest)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        # MMEngine removes a former best checkpoint before it writes the new one, if it knows one.
        several = getattr(self, 'best_ckpt_path_dict', None)
        paths: dict = self.__dict__ if several is None else several
        former = {key: paths[key] for key in (several or ['best_ckpt_path'])}
        paths.update(dict.fromkeys(former))
        super()._save_best_checkpoint(runner, metrics)
        for key, path in former.items():
            if paths[key] is None:
                paths[key] = path
            elif path != paths[key]:
                self._remove(path)

    def _path_of(self, step: int) -> str:
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))

    def _remove(self, path: str | None) -> None:
        if path and is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
