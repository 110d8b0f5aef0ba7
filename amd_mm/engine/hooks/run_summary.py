from amd_mm.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .. import settings
from ..summary import summarise


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Logs, before training, batch size, optimiser, schedule, tokens, parameters and precision.

    Batch size and learning rate are those of an optimiser step over all processes. Warns of
    settings that a resumed checkpoint replaced, and of a schedule that does not end with the run.
    """

    priority = 'LOWEST'  # after all hooks have set themselves up

    def __init__(self) -> None:
        self.asked: dict[str, list] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the settings, which the checkpoint is about to replace.

        Raises:
            CheckpointError: If it has another schedule.
        """
        if runner._resume:
            settings.check_schedule(runner, checkpoint)
            self.asked = settings.in_force(runner)
            if text := settings.follow_epoch_length(runner, checkpoint):
                runner.logger.warning(text)

    def before_train(self, runner: Runner) -> None:
        """Log the summary and the warnings."""
        lines = summarise(runner)
        width = max(map(len, lines))
        text = '\n'.join(f'  {name:<{width}}  {value}' for name, value in lines.items())
        runner.logger.info(f'This run:\n{text}')
        if replaced := settings.differences(self.asked, settings.in_force(runner)):
            runner.logger.warning(
                'a resumed run keeps the settings of its checkpoint. For new ones start from its '
                f'weights: --cfg-options load_from={runner._load_from}, without --resume\n  '
                + '\n  '.join(replaced)
            )
        elif lacking := settings.unused(runner):
            runner.logger.warning('\n  '.join(['the optimiser has other values:', *lacking]))
        batch = next(iter(lines.values()))
        former = runner.message_hub.get_info('clips_per_step', batch)  # of the checkpoint
        runner.message_hub.update_info('clips_per_step', batch)
        runner.message_hub.update_info('batches_per_epoch', len(runner.train_dataloader))
        if former != batch:
            runner.logger.warning(
                f'the checkpoint was trained with other clips per step: {former}; now {batch}'
            )
        if end := settings.schedule_end(runner):
            runner.logger.warning(end)
