from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenPartition:
    """Who sees which tokens of a clip, AMD section 3.2.

    The three sets are disjoint and make up the clip. All are int64 positions
    in the order (t, h, w), of sizes that depend on the grid and the ratios
    alone, on the clip's device.

    Attributes:
        visible (Tensor): (B, Kv): what student and teacher see.
        teacher_only (Tensor): (B, Ke): what only the teacher sees; Ke may be 0.
        hidden (Tensor): (B, Kh): what neither sees.
        decoded (Tensor, optional): (B, Kd): the unseen tokens to reconstruct
            if not all of them.
        generated (Tensor, optional): (B, Kg): the extra tokens that a
            generator is asked for if not all of them; then ``teacher_only`` ends
            with them.
    """

    visible: Tensor
    teacher_only: Tensor
    hidden: Tensor
    decoded: Tensor | None = None
    generated: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens of a clip, N."""
        return sum(ids.shape[1] for ids in (self.visible, self.teacher_only, self.hidden))

    @property
    def teacher(self) -> Tensor:
        """(B, Kv + Ke): what the teacher sees, the visible tokens first."""
        return torch.cat([self.visible, self.teacher_only], 1)

    @property
    def masked(self) -> Tensor:
        """(B, Ke + Kh): what the student does not see."""
        return torch.cat([self.teacher_only, self.hidden], 1)

    @property
    def targets(self) -> Tensor:
        """(B, Kd): the tokens to reconstruct, all unseen ones by default."""
        return self.masked if self.decoded is None else self.decoded

    @property
    def generation_targets(self) -> Tensor:
        """(B, Kg): the tokens to generate, all extra ones by default."""
        return self.teacher_only if self.generated is None else self.generated

    @classmethod
    def from_masks(cls, student: Tensor, teacher: Tensor | None = None) -> 'TokenPartition':
        """Build a partition from boolean masks (true: masked, not seen).

        For tools and tests: boolean indexing makes the host wait.

        Args:
            student (Tensor): (B, N), bool, as many true in every row.
            teacher (Tensor, optional): (B, N), bool, true only where
                ``student`` is; the student's mask by default.

        Returns:
            TokenPartition: With the positions of each set in rising order.

        Raises:
            ValueError: If rows differ in their counts, or the teacher does not
                see something that the student sees.
        """
        teacher = student if teacher is None else teacher
        if (teacher & ~student).any():
            raise ValueError(
                'the student sees a token that the teacher does '
                "not: its mask must cover the teacher's"
            )
        return cls(
            visible=_positions(~student),
            teacher_only=_positions(student & ~teacher),
            hidden=_positions(teacher),
        )


def _positions(mask: Tensor) -> Tensor:
    counts = mask.sum(1)
    if (counts != counts[0]).any():
        raise ValueError(
            f'every clip of a batch must have as many tokens masked, got {counts.tolist()} unmasked'
        )
    return mask.nonzero()[:, 1].reshape(mask.shape[0], -1)
