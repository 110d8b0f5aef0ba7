"""Which tokens of a clip the student and the teacher see: nested random masks, AMD section 3.2."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from torch import Tensor

from .utils import Grid


@dataclass(frozen=True)
class TokenPartition:
    """Three disjoint sets of tokens that make up a clip.

    All are int64 positions in the order (t, h, w). Their sizes depend only on the grid and the
    ratios.

    Attributes:
        visible: (B, Kv), seen by the student and the teacher.
        teacher_only: (B, Ke), seen by the teacher only; Ke may be 0.
        hidden: (B, Kh), seen by neither.
        decoded: (B, Kd), the masked tokens to reconstruct; None means all.
        generated: (B, Kg), the teacher-only tokens to generate, which are the last ones of
            ``teacher_only``; None means all.
        cells: (B, M), the mask generator's cells in the order in which they were drawn; None if the
            partition was not drawn.
    """

    visible: Tensor
    teacher_only: Tensor
    hidden: Tensor
    decoded: Tensor | None = None
    generated: Tensor | None = None
    cells: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.visible.shape[1] + self.teacher_only.shape[1] + self.hidden.shape[1]

    @property
    def teacher(self) -> Tensor:
        """(B, Kv + Ke), the tokens that the teacher sees, the visible ones first."""
        return torch.cat([self.visible, self.teacher_only], 1)

    @property
    def masked(self) -> Tensor:
        """(B, Ke + Kh), the tokens that the student does not see."""
        return torch.cat([self.teacher_only, self.hidden], 1)

    @property
    def targets(self) -> Tensor:
        """(B, Kd), the tokens to reconstruct."""
        return self.masked if self.decoded is None else self.decoded

    @property
    def generation_targets(self) -> Tensor:
        """(B, Kg), the tokens to generate."""
        return self.teacher_only if self.generated is None else self.generated

    @classmethod
    def from_masks(cls, student: Tensor, teacher: Tensor | None = None) -> 'TokenPartition':
        """Build a partition from boolean masks, for tools and tests.

        Args:
            student: (B, N), true where the student does not see; the same number in all rows.
            teacher: (B, N), true where the teacher does not see; the student's mask by default.

        Raises:
            ValueError: If rows differ in their counts, or the masks are not nested.
        """
        teacher = student if teacher is None else teacher
        if (teacher & ~student).any():
            raise ValueError(
                'the student sees a token that the teacher does not see: its mask must cover the '
                "teacher's mask"
            )
        sets = []
        for chosen in (~student, student & ~teacher, teacher):
            counts = chosen.sum(1)
            if (counts != counts[0]).any():
                raise ValueError(
                    'all clips of a batch must have the same number of masked tokens, '
                    f'got sets of {counts.tolist()} tokens'
                )
            sets.append(chosen.nonzero()[:, 1].reshape(len(chosen), -1))
        return cls(*sets)


class StepSeededGenerator:
    """A ``torch.Generator`` that is seeded by (seed, step, rank).

    A resumed run thus draws the same masks as an uninterrupted one, and ranks draw different masks.
    The step is the runner's iteration; without a runner the calls are counted.

    Args:
        seed: The runner's seed by default; without a runner torch's.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._calls = 0
        self._generators: dict[torch.device, torch.Generator] = {}

    def get(self, device: str | torch.device) -> torch.Generator | None:
        """The generator of this step on a device; none on the meta device, which draws nothing."""
        device = torch.device(device)
        if device.type == 'meta':
            return None
        if device not in self._generators:
            self._generators[device] = torch.Generator(device)
        words = np.random.SeedSequence(self._entropy()).generate_state(2)
        # 63 bits: torch does not take an unsigned 64-bit seed on every device.
        return self._generators[device].manual_seed(int(words[0]) << 31 ^ int(words[1]))

    def _entropy(self) -> tuple[int, int, int]:
        info = MessageHub.get_current_instance().runtime_info
        seed = info.get('seed') if self.seed is None else self.seed
        seed = torch.initial_seed() if seed is None else seed
        step = info.get('iter')
        if step is None:
            step, self._calls = self._calls, self._calls + 1
        return abs(int(seed)), int(step), get_rank()


@MODELS.register_module()
class AsymmetricRandomMaskGenerator:
    """Random masks over all tokens, in space and time.

    On images (one frame) these are MAE's masks (CVPR 2022, section 3); on videos those of *Masked
    Autoencoders As Spatiotemporal Learners* (NeurIPS 2022, section 3).

    Masks are drawn in cells, here single tokens. A subclass defines other cells by :meth:`cells`,
    and by :meth:`tokens_of` if a cell is not a tube.

    Args:
        student_ratio: Share of cells masked for the student.
        teacher_ratio: Share of cells masked for the teacher, at most ``student_ratio``, which is
            the default.
        decoder_ratio: Share of the masked tokens that is not reconstructed, chosen by running cells
            (VideoMAE v2 uses 0.5).
        generator_ratio: Share of the teacher-only tokens that is not generated, chosen by running
            cells. AMD generates all.
        round_down: ``masked`` rounds the number of masked cells down (VideoMAE, AMD), ``visible``
            that of visible cells (MAE, DMAE). At a ratio of 0.9, 20 or 19 of 196 patches are
            visible.
        seed: See :class:`StepSeededGenerator`.

    Raises:
        ConfigError: If the ratios are out of range or order, or ``round_down`` is unknown.
    """

    def __init__(
        self,
        student_ratio: float = 0.9,
        teacher_ratio: float | None = None,
        decoder_ratio: float = 0.0,
        generator_ratio: float = 0.0,
        round_down: str = 'masked',
        seed: int | None = None,
    ) -> None:
        self.student_ratio = student_ratio
        self.teacher_ratio = student_ratio if teacher_ratio is None else teacher_ratio
        self.decoder_ratio = decoder_ratio
        self.generator_ratio = generator_ratio
        self.round_down = round_down
        self.random = StepSeededGenerator(seed)
        self._check()

    def _check(self) -> None:
        self._check_teacher_ratio(self.teacher_ratio)
        for name in ('decoder_ratio', 'generator_ratio'):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f'{name} must be from 0 to below 1, got {getattr(self, name)}')
        if self.round_down not in ('masked', 'visible'):
            raise ConfigError(f"round_down must be 'masked' or 'visible', got {self.round_down!r}")

    def _check_teacher_ratio(self, teacher_ratio: float) -> None:
        if not 0 <= teacher_ratio <= self.student_ratio < 1:
            raise ConfigError(
                'mask ratios must satisfy 0 <= teacher_ratio <= student_ratio < 1, got '
                f'teacher_ratio={teacher_ratio}, student_ratio={self.student_ratio}: the '
                'teacher must see every token that the student sees'
            )

    def cells(self, grid: Grid) -> int:
        """Number of cells of a grid, all of one size."""
        return math.prod(grid)

    def tokens_of(self, cells: Tensor, grid: Grid) -> Tensor:
        """Tokens of cells (B, m), both rising: a cell is a tube along time.

        Returns:
            (B, m * N / M), int64, for M cells of N tokens.
        """
        number = self.cells(grid)
        times = math.prod(grid) // number
        starts = torch.arange(times, device=cells.device) * number
        return (starts[:, None] + cells[:, None]).flatten(1)  # (B, times, m) -> (B, times * m)

    def counts(self, grid: Grid, teacher_ratio: float | None = None) -> dict[str, int]:
        """Numbers of tokens of a clip.

        Args:
            grid: Tokens along (time, height, width).
            teacher_ratio: Of a teacher that has its own.

        Returns:
            ``total``, ``visible``, ``teacher_only``, ``hidden``, ``decoded`` and ``generated``.

        Raises:
            ConfigError: If the student does not see any token, or the teacher's ratio is out of
                range.
        """
        cells, total = self.cells(grid), math.prod(grid)
        student = self._num_masked(self.student_ratio, cells)
        teacher_ratio = self.teacher_ratio if teacher_ratio is None else teacher_ratio
        self._check_teacher_ratio(teacher_ratio)
        teacher = self._num_masked(teacher_ratio, cells)
        if student == cells:
            raise ConfigError(
                f'student_ratio={self.student_ratio} leaves no visible token on a grid of {grid}'
            )
        per_cell = total // cells
        masked, teacher_only = student * per_cell, (student - teacher) * per_cell
        return dict(
            total=total,
            visible=total - masked,
            teacher_only=teacher_only,
            hidden=teacher * per_cell,
            decoded=masked - int(self.decoder_ratio * masked),
            generated=teacher_only - int(self.generator_ratio * teacher_only),
        )

    def _num_masked(self, ratio: float, cells: int) -> int:
        return (
            int(ratio * cells) if self.round_down == 'masked' else cells - int(cells * (1 - ratio))
        )

    def __call__(
        self, batch_size: int, grid: Grid, device: str | torch.device = 'cpu'
    ) -> TokenPartition:
        """Draw the partition of a batch of clips."""
        counts, cells = self.counts(grid), self.cells(grid)
        generator = self.random.get(device)
        order = torch.rand(batch_size, cells, device=device, generator=generator).argsort(dim=1)
        visible, teacher_only, hidden = self._split(order, counts, grid)
        decoded = generated = None
        if self.decoder_ratio:
            masked = torch.cat([teacher_only, hidden], 1)
            decoded, _ = running_cells(masked, counts['decoded'], grid, generator)
        if self.generator_ratio:
            generated, others = running_cells(teacher_only, counts['generated'], grid, generator)
            teacher_only = torch.cat([others, generated], 1)
        return TokenPartition(visible, teacher_only, hidden, decoded, generated, order)

    def _split(self, order: Tensor, counts: dict[str, int], grid: Grid) -> list[Tensor]:
        """Visible, teacher-only and hidden tokens, each rising, of cells (B, M) in drawn order."""
        per_cell = counts['total'] // self.cells(grid)
        sizes = [counts[name] // per_cell for name in ('visible', 'teacher_only', 'hidden')]
        return [self.tokens_of(part.sort(dim=1).values, grid) for part in order.split(sizes, dim=1)]

    def for_teacher(
        self, partition: TokenPartition, teacher_ratio: float, grid: Grid
    ) -> TokenPartition:
        """The partition for another teacher, which sees another share of the same clips.

        The student sees the same tokens. The shares of several teachers are nested. All
        teacher-only tokens are generated.

        Raises:
            ValueError: If the partition was not drawn.
        """
        if partition.cells is None:
            raise ValueError(
                'a teacher with a mask ratio of its own needs a partition from the mask generator: '
                'leave out partition'
            )
        counts = self.counts(grid, teacher_ratio)
        return TokenPartition(*self._split(partition.cells, counts, grid))


@MODELS.register_module()
class AsymmetricTubeMaskGenerator(AsymmetricRandomMaskGenerator):
    """Tube masks: one mask of the frame for all times (AMD section 3.2, VideoMAE section 3.3).

    Of the patches of a frame ``int(ratio * patches)`` are masked. Equal ratios give VideoMAE's
    masks.
    """

    def cells(self, grid: Grid) -> int:
        """Number of patches of a frame."""
        return grid[1] * grid[2]


def running_cells(
    tokens: Tensor, keep: int, grid: Grid, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Choose tokens evenly over space and time by running cells, VideoMAE v2 section 3.2.

    Every 2 x 2 cell of a frame offers its tokens in turn, one step further in each frame. Unlike
    VideoMAE v2, a fixed number is chosen, and only among ``tokens``.

    Args:
        tokens: (B, U), int64.
        keep: How many to choose.
        grid: Tokens along (time, height, width).
        generator: On the device of ``tokens``.

    Returns:
        The chosen (B, keep) and the other tokens (B, U - keep), each rising.
    """
    _, rows, cols = grid
    step = tokens // (rows * cols)
    row, col = tokens // cols % rows, tokens % cols
    device = tokens.device
    start = torch.randint(4, (tokens.shape[0], 1), device=device, generator=generator)
    turn = (row % 2 * 2 + col % 2 + step + start) % 4
    tie = torch.rand(tokens.shape, device=device, generator=generator)
    order = tokens.gather(1, (turn + tie).argsort(dim=1))
    return order[:, :keep].sort(dim=1).values, order[:, keep:].sort(dim=1).values
