"""Who sees which tokens of a clip: nested random masks, AMD section 3.2."""

import math
from abc import ABCMeta, abstractmethod

import numpy as np
import torch
from amd_mm.registry import MODELS
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from torch import Tensor

from ..utils import Grid
from .partition import TokenPartition


class StepSeededGenerator:
    """A random generator on any device, seeded by (seed, step, rank).

    So the draws of a training step do not depend on what happened before it: a
    resumed run draws what the uninterrupted run would have drawn, and ranks
    draw differently. Under MMEngine's runner the step is the runner's
    iteration; elsewhere the calls are counted.

    Args:
        seed (int, optional): By default the seed of the runner, or where there
            is none that of torch.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._calls = 0
        self._generators: dict[torch.device, torch.Generator] = {}

    def get(self, device: str | torch.device) -> torch.Generator:
        """The generator of this step, on ``device``."""
        device = torch.device(device)
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
        words = np.random.SeedSequence(self._entropy()).generate_state(2)
        # 63 bits: torch takes no unsigned 64-bit seed on every device.
        seed = int(words[0]) << 31 ^ int(words[1])
        return self._generators[device].manual_seed(seed)

    def _entropy(self) -> tuple:
        info = MessageHub.get_current_instance().runtime_info
        seed = self.seed
        if seed is None:
            seed = info.get('seed')
        if seed is None:
            seed = torch.initial_seed()
        step = info.get('iter')
        if step is None:
            step, self._calls = self._calls, self._calls + 1
        return abs(int(seed)), int(step), get_rank()


_ROUNDED = ('masked', 'visible')


class _AsymmetricMaskGenerator(metaclass=ABCMeta):
    """Nested random masks for a whole batch; subclasses say over what."""

    def __init__(
        self,
        student_ratio: float = 0.9,
        teacher_ratio: float | None = None,
        decoder_ratio: float = 0.0,
        generator_ratio: float = 0.0,
        round_down: str = 'masked',
        seed: int | None = None,
    ) -> None:
        if teacher_ratio is None:
            teacher_ratio = student_ratio
        if not 0 <= teacher_ratio <= student_ratio < 1:
            raise ValueError(
                'ratios are shares of masked tokens with 0 <= teacher_ratio '
                f'<= student_ratio < 1, got teacher_ratio={teacher_ratio}, '
                f'student_ratio={student_ratio}: the teacher sees at least '
                'what the student sees'
            )
        for name, ratio, what in (
            ('decoder_ratio', decoder_ratio, 'unseen tokens that is not reconstructed'),
            (
                'generator_ratio',
                generator_ratio,
                "the teacher's extra tokens that is not generated",
            ),
        ):
            if not 0 <= ratio < 1:
                raise ValueError(f'{name} is the share of {what}, from 0 to below 1, got {ratio}')
        if round_down not in _ROUNDED:
            raise ValueError(f'round_down is one of {_ROUNDED}, got {round_down!r}')
        self.round_down = round_down
        self.student_ratio = student_ratio
        self.teacher_ratio = teacher_ratio
        self.decoder_ratio = decoder_ratio
        self.generator_ratio = generator_ratio
        self.random = StepSeededGenerator(seed)

    def _masked(self, ratio: float, cells: int) -> int:
        if self.round_down == 'masked':
            return int(ratio * cells)
        return cells - int(cells * (1 - ratio))

    @abstractmethod
    def cells(self, grid: Grid) -> int:
        """How many cells are dealt out on a grid.

        Args:
            grid (Grid): Tokens along (time, height, width).

        Returns:
            int: M; each is made of N / M of the N tokens.
        """

    @abstractmethod
    def tokens_of(self, cells: Tensor, grid: Grid) -> Tensor:
        """Which tokens some cells are made of.

        Args:
            cells (Tensor): (B, m), int64, numbers from 0 to M - 1, rising.
            grid (Grid): Tokens along (time, height, width).

        Returns:
            Tensor: (B, m * N / M), int64, their positions in the order
            (t, h, w), rising.
        """

    def counts(self, grid: Grid) -> dict[str, int]:
        """Sizes of the sets of a clip.

        Args:
            grid (Grid): Tokens along (time, height, width).

        Returns:
            Dict[str, int]: ``total``, ``visible``, ``extra``, ``hidden``,
            ``decoded`` (the tokens to reconstruct) and ``generated`` (the
            tokens that a generator is asked for).

        Raises:
            ValueError: If no token is left for the student to see.
        """
        cells, total = self.cells(grid), math.prod(grid)
        student = self._masked(self.student_ratio, cells)
        teacher = self._masked(self.teacher_ratio, cells)
        if student == cells:
            raise ValueError(
                f'student_ratio={self.student_ratio} leaves '
                f'nothing to see on a grid of {grid} tokens'
            )
        per_cell = total // cells
        unseen = student * per_cell
        extra = (student - teacher) * per_cell
        return dict(
            total=total,
            visible=total - unseen,
            teacher_only=extra,
            hidden=teacher * per_cell,
            decoded=unseen - int(self.decoder_ratio * unseen),
            generated=extra - int(self.generator_ratio * extra),
        )

    def __call__(
        self, batch_size: int, grid: Grid, device: str | torch.device = 'cpu'
    ) -> TokenPartition:
        """Draw the partition of a batch.

        Args:
            batch_size (int): Number of clips.
            grid (Grid): Tokens along (time, height, width).
            device (str | torch.device): Where the clips are.

        Returns:
            TokenPartition: Of (batch_size, K) index tensors.
        """
        counts, cells = self.counts(grid), self.cells(grid)
        per_cell = counts['total'] // cells
        generator = self.random.get(device)
        order = torch.rand(batch_size, cells, device=device, generator=generator).argsort(dim=1)
        sizes = [counts[name] // per_cell for name in ('visible', 'teacher_only', 'hidden')]
        sets = [self.tokens_of(part.sort(dim=1).values, grid) for part in order.split(sizes, dim=1)]
        decoded = generated = None
        if self.decoder_ratio:
            unseen = torch.cat(sets[1:], 1)
            decoded, _ = running_cells(unseen, counts['decoded'], grid, generator)
        if self.generator_ratio:
            generated, others = running_cells(sets[1], counts['generated'], grid, generator)
            sets[1] = torch.cat([others, generated], 1)
        visible, extra, hidden = sets
        return TokenPartition(visible, extra, hidden, decoded, generated)


def running_cells(
    tokens: Tensor, keep: int, grid: Grid, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose some of the tokens by running cells, VideoMAE v2 §3.2.

    Every 2 x 2 cell of a frame deals its tokens out in turn, one step further
    in each frame, so that what is chosen is spread evenly over space and
    time. Unlike in VideoMAE v2, where it chooses what to reconstruct, only
    unseen tokens take part, and a fixed number of them: the shapes stay static
    and no decoded token is without a loss.

    Args:
        tokens (Tensor): (B, U), int64, the tokens to choose from.
        keep (int): How many of them.
        grid (Grid): Tokens along (time, height, width).
        generator (torch.Generator): On the device of ``tokens``.

    Returns:
        Tuple[Tensor, Tensor]: (B, keep) and (B, U - keep), int64, the chosen
        and the others, each in rising order.
    """
    _, rows, cols = grid
    step = tokens // (rows * cols)
    row, col = tokens // cols % rows, tokens % cols
    device = tokens.device
    start = torch.randint(4, (tokens.shape[0], 1), device=device, generator=generator)
    turn = (row % 2 * 2 + col % 2 + step + start) % 4
    tie = torch.rand(tokens.shape, device=device, generator=generator)
    order = tokens.gather(1, (turn + tie).argsort(dim=1))
    chosen, others = order[:, :keep], order[:, keep:]
    return chosen.sort(dim=1).values, others.sort(dim=1).values


@MODELS.register_module()
class AsymmetricTubeMaskGenerator(_AsymmetricMaskGenerator):
    """Tube masks: one mask a clip over the frame, the same at every time.

    Per frame ``int(ratio * patches)`` patches are masked (AMD section 3.2;
    VideoMAE section 3.3). Equal ratios give VideoMAE's symmetric masks.

    Args:
        student_ratio (float): Share masked for the student.
        teacher_ratio (float, optional): Share masked for the teacher, at most
            the student's; the student's by default.
        decoder_ratio (float): Share of the unseen tokens that is not
            reconstructed, chosen by running cells (VideoMAE v2, which uses
            0.5). 0, the default, reconstructs all.
        generator_ratio (float): Share of the tokens only the teacher sees
            that no generator is asked for, chosen by running cells. Changes
            the method: 0, the default, generates all, as AMD does.
        round_down (str): What is rounded down to a whole number: ``masked``
            (VideoMAE, AMD) or ``visible`` (MAE, DMAE). At a ratio of 0.9 on
            196 patches 20 are visible, or 19.
        seed (int, optional): See :class:`StepSeededGenerator`.

    Raises:
        ValueError: If the ratios are out of order, or ``round_down`` is
            unknown.
    """

    def cells(self, grid: Grid) -> int:
        """How many tubes there are: one for every patch of a frame.

        Args:
            grid (Grid): Tokens along (time, height, width).

        Returns:
            int: H' * W'.
        """
        return grid[1] * grid[2]

    def tokens_of(self, cells: Tensor, grid: Grid) -> Tensor:
        """Every tube is its patch of the frame at each of the T' times.

        Args:
            cells (Tensor): (B, m), int64, patches of a frame, rising.
            grid (Grid): Tokens along (time, height, width).

        Returns:
            Tensor: (B, T' * m), int64, positions in the order (t, h, w).
        """
        starts = torch.arange(grid[0], device=cells.device) * self.cells(grid)
        return (starts[:, None] + cells[:, None]).flatten(1)


@MODELS.register_module()
class AsymmetricRandomMaskGenerator(_AsymmetricMaskGenerator):
    """Random masks over all tokens, in space and in time.

    For images (one frame) these are MAE's masks (CVPR 2022, section 3); for
    video the agnostic masks of *Masked Autoencoders As Spatiotemporal
    Learners* (NeurIPS 2022, section 3). Arguments and errors are those of
    :class:`AsymmetricTubeMaskGenerator`.
    """

    def cells(self, grid: Grid) -> int:
        """How many tokens there are: each is a cell of its own.

        Args:
            grid (Grid): Tokens along (time, height, width).

        Returns:
            int: T' * H' * W'.
        """
        return math.prod(grid)

    def tokens_of(self, cells: Tensor, grid: Grid) -> Tensor:
        """The cells are the tokens.

        Args:
            cells (Tensor): (B, m), int64, rising.
            grid (Grid): Not used.

        Returns:
            Tensor: (B, m), the same.
        """
        return cells
