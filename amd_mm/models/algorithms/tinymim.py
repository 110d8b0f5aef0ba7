"""TinyMIM (CVPR 2023, arXiv 2301.01296)."""

from amd_mm.errors import ConfigError
from amd_mm.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from ..mask_generators import TokenPartition
from ..teachers import TeacherMixin, check_same_tokens
from ..utils import compile_blocks as compile_in_place

Views = Tensor | list[Tensor]


@MODELS.register_module()
class TinyMIM(TeacherMixin, BaseModel):
    """A small ViT learns the token relations of one block of a larger, frozen masked autoencoder.

    There is neither a decoder nor a projector, and by default both see the whole image. Both stop
    at their target block: for relations right after its projection to query, key and value. The
    student's parameters after that point are frozen, as they never get a gradient.

    Args:
        backbone: Config of the student, an image backbone with ``query_key_value``.
        teacher: Config of the :class:`RelationTeacher`.
        last_heads: Heads of the student's query, key and value in the target block, as many as the
            teacher's. They change neither the weights' shapes nor fine-tuning. For token relations
            only.
        head: Config of the target, a :class:`TokenRelationHead` or a :class:`FeatureTargetHead`.
        block: The student's target block, counted from 1; the last by default.
        mask_generator: Config of a mask generator. The student then sees the visible tokens, the
            teacher also the teacher-only ones, and the visible ones are compared.
        data_preprocessor: Config; MMPretrain's ``SelfSupDataPreprocessor`` takes one or two views.
        compile_blocks: ``torch.compile`` each transformer block in place.

    Raises:
        ConfigError: If heads, tokens or blocks of teacher and student contradict each other.
    """

    def __init__(
        self,
        backbone: dict,
        teacher: dict,
        last_heads: int | None = None,
        head: dict = dict(type='amd_mm.TokenRelationHead'),
        block: int | None = None,
        mask_generator: dict | None = None,
        data_preprocessor: dict | None = None,
        compile_blocks: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone = MODELS.build(backbone)
        self.set_teacher(MODELS.build(teacher))
        sizes = dict(student_dims=self.backbone.embed_dims, teacher_dims=self.teacher.embed_dims)
        reads_relations = MODELS.get(head['type']).reads_relations
        self.head = MODELS.build(head if reads_relations else dict(head, **sizes))
        self.block = self.backbone.depth if block is None else block
        self.last_heads = last_heads
        self.mask_generator = mask_generator and MODELS.build(mask_generator)
        self._check()
        self._freeze_after_target()
        if compile_blocks:
            compile_in_place(self.backbone, self.teacher)

    def _check(self) -> None:
        student, teacher = self.backbone, self.teacher.backbone
        if not 2 <= self.block <= student.depth:
            raise ConfigError(f'block={self.block} must be a block from 2 to {student.depth}')
        check_same_tokens(student, teacher)
        if self.mask_generator:
            self.mask_generator.counts(student.token_grid)  # raises if ratios do not suit the grid
        if not self.head.reads_relations:
            if self.head.tokens == 'class' and not student.num_extra_tokens:
                raise ConfigError(
                    "tokens='class' needs a class token: set with_cls_token=True in backbone and "
                    'teacher.backbone'
                )
            return
        heads = self.last_heads
        if not heads or heads != self.teacher.num_heads:
            raise ConfigError(
                f'token relations are compared head by head: last_heads={heads} of the student and '
                f'teacher.num_heads={self.teacher.num_heads} must be given and agree'
            )
        for name, backbone in (('teacher.backbone', teacher), ('backbone', student)):
            if backbone.embed_dims % heads:
                raise ConfigError(
                    f'{heads} heads do not divide the width {backbone.embed_dims} of {name}: '
                    'change last_heads and teacher.num_heads'
                )

    def _freeze_after_target(self) -> None:
        target = self.backbone.blocks[self.block - 1]
        if self.head.reads_relations:
            for name, parameter in target.named_parameters():
                if not name.startswith(('ln1.', 'attn.qkv.')):
                    parameter.requires_grad_(False)
        for block in self.backbone.blocks[self.block :]:
            block.requires_grad_(False)
        for name in self.backbone.closing_norms:
            if hasattr(self.backbone, name):
                getattr(self.backbone, name).requires_grad_(False)

    def train(self, mode: bool = True) -> 'TinyMIM':
        """Set the mode, also of the teacher's drop path."""
        super().train(mode)
        self.teacher.train(mode)
        return self

    def forward(
        self, inputs: Views, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """Dispatch to :meth:`loss` or (``tensor``) :meth:`extract_feat`."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise RuntimeError(f'mode must be loss or tensor, got {mode!r}')

    def loss(
        self,
        inputs: Views,
        data_samples: list | None = None,
        partition: TokenPartition | None = None,
    ) -> dict[str, Tensor]:
        """The training loss, TinyMIM section 3.

        Args:
            inputs: Normalised images (B, C, H, W); or the student's and the teacher's view of the
                same crop, which may differ in colour.
            data_samples: Ignored.
            partition: Which tokens are seen; drawn by default if there is a mask generator.

        Returns:
            The head's losses: ``loss_qk`` and ``loss_vv`` for TinyMIM's relations.
        """
        mine, theirs = self.patches_of(inputs)  # (B, N, P) each
        if partition is None and self.mask_generator:
            partition = self.mask_generator(len(mine), self.backbone.token_grid, mine.device)
        visible = seen_by_teacher = None  # all tokens
        if partition is not None:
            visible, seen_by_teacher = partition.visible, partition.teacher
        if self.head.reads_relations:
            target = self.teacher.query_key_value(theirs, seen_by_teacher)  # (3, B, H, E + Kt, d')
            student = self.backbone.query_key_value(  # (3, B, H, E + Kv, d)
                mine, self.block, visible, self.last_heads
            )
        else:
            (target,) = self.teacher(theirs, seen_by_teacher)  # (B, E + Kt, Ct)
            (student,) = self.backbone.encode(  # (B, E + Kv, Cs)
                mine, visible, layers=[self.block], stop_early=True
            ).layers
        return self.head.loss(student, target[..., : student.shape[-2], :])  # visible tokens first

    def patches_of(self, inputs: Views) -> tuple[Tensor, Tensor]:
        """Cut the student's and the teacher's view into patches, (B, N, P) each.

        Raises:
            ValueError: If there are more than two views, or they do not have the backbone's size.
        """
        views = [inputs] if isinstance(inputs, Tensor) else inputs
        if len(views) > 2:
            raise ValueError(
                f"inputs must be one view, or the student's and the teacher's, got {len(views)}"
            )
        for view in views:
            grid = self.backbone.grid_of(view)
            if grid != self.backbone.token_grid:
                raise ValueError(
                    f'images of {tuple(view.shape[2:])} make a grid of {grid} tokens, the backbone '
                    f'was built for {self.backbone.token_grid}: set img_size of backbone and '
                    "teacher.backbone, or the pipeline's crop"
                )
        patches = [self.backbone.patchify(view) for view in views]
        return patches[0], patches[-1]

    def extract_feat(self, inputs: Views) -> Tensor:
        """Tokens (B, E + N, C) as far as the student was trained.

        For relations they are the normed input of the target block's projection to query, key and
        value: the parameters after it are still at their initialisation.
        """
        patches, _ = self.patches_of(inputs)
        if not self.head.reads_relations:
            return self.backbone.encode(patches, layers=[self.block], stop_early=True).layers[0]
        before = self.block - 1
        (tokens,) = self.backbone.encode(patches, layers=[before], stop_early=True).layers
        return self.backbone.blocks[before].ln1(tokens)
