from amd_mm.registry import MODELS
from mmengine.model import BaseModel
from torch import Tensor

from .. import utils
from ..mask_generators import TokenPartition
from ..teachers import CarriesTeacher

Views = Tensor | list[Tensor]

# What query, key and value of a block are made by; the rest of it comes after.
_BEFORE_RELATIONS = ('ln1.', 'attn.qkv.')


@MODELS.register_module()
class TinyMIM(CarriesTeacher, BaseModel):
    """TinyMIM (CVPR 2023, arXiv 2301.01296).

    A small ViT learns, from images without labels, how the tokens of a block
    of a larger, frozen masked autoencoder relate to each other. There is no
    decoder and no projector. Both see the whole image by default.

    Both networks stop at their target block, right after its projection to
    query, key and value if the head compares relations: no attention is
    computed that nothing reads. What comes after is frozen, as it would never
    get a gradient (ten tensors of a ViT whose last block is the target), and
    keeps its initial values in the checkpoint; fine-tuning starts from them.

    The teacher is no sub-module: it is in no ``state_dict``, optimiser or
    DistributedDataParallel. ``.to()`` and ``.train()`` reach it.

    Args:
        backbone (dict): Config of the student, an image backbone with
            ``query_key_value``. Its head count is the usual one.
        teacher (dict): Config of the :class:`RelationTeacher`.
        last_heads (int, optional): Heads with which query, key and value of
            the student's target block are read: as many as the teacher's.
            Weights have the same shapes whatever it is, and fine-tuning goes
            back to the usual count. Only for token relations.
        head (dict): Config of what is learnt: :class:`TokenRelationHead`, or
            :class:`FeatureTargetHead` (features or the class token), whose
            widths are inferred.
        block (int, optional): The student's target block, counted from 1; the
            last by default.
        mask_generator (dict, optional): Config of a generator of partitions,
            for masked inputs: the student sees ``visible``, the teacher that
            and ``extra``; they are compared on ``visible`` (and the class
            token). None, the default, masks nothing.
        data_preprocessor (dict, optional): Config; MMPretrain's
            ``SelfSupDataPreprocessor`` takes one view or two.
        compile_blocks (bool): ``torch.compile`` each transformer block of
            student and teacher in place.
        init_cfg (dict | List[dict], optional): Initialisation.

    Raises:
        ValueError: If heads, tokens or blocks of teacher and student do not go
            together.
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
        self.block = self.backbone.depth if block is None else block
        self.last_heads = last_heads
        if not 2 <= self.block <= self.backbone.depth:
            raise ValueError(
                f"block={block} is the student's target: one of "
                f'2 to {self.backbone.depth}, its last'
            )
        self.carry(MODELS.build(teacher))
        self._check_tokens()
        self.head = MODELS.build(self._complete_head(head))
        self._check_heads()
        self.mask_generator = mask_generator and MODELS.build(mask_generator)
        if self.mask_generator:  # ratios that do not fit the grid stop here
            self.mask_generator.counts(self.backbone.token_grid)
        self._freeze_what_is_not_run()
        if compile_blocks:
            utils.compile_blocks(self.backbone, self.teacher)

    def _complete_head(self, head: dict) -> dict:
        if getattr(MODELS.get(head['type']), 'reads_relations', False):
            return head
        return dict(
            head, student_dims=self.backbone.embed_dims, teacher_dims=self.teacher.embed_dims
        )

    def _check_tokens(self) -> None:
        mine, theirs = self.backbone, self.teacher.backbone
        for name in ('token_grid', 'patch_shape', 'in_channels', 'num_extra_tokens'):
            if getattr(mine, name) != getattr(theirs, name):
                raise ValueError(
                    'teacher and student must cut the image into the same '
                    f'tokens: {name} is {getattr(theirs, name)} in '
                    f'teacher.backbone and {getattr(mine, name)} in backbone'
                )

    def _check_heads(self) -> None:
        if not self.head.reads_relations:
            if self.head.tokens == 'class' and not (self.backbone.num_extra_tokens):
                raise ValueError(
                    "tokens='class' needs a class token: set "
                    'with_cls_token=True in backbone and '
                    'teacher.backbone'
                )
            return
        mine, theirs = self.last_heads, self.teacher.num_heads
        if not mine or mine != theirs:
            raise ValueError(
                'token relations are compared head by head: '
                f'last_heads={mine} of the student and teacher.num_heads='
                f'{theirs} must be given and agree'
            )
        for name, module in (
            ('teacher.backbone', self.teacher.backbone),
            ('backbone', self.backbone),
        ):
            if module.embed_dims % mine:
                raise ValueError(
                    f'{mine} heads do not divide the width '
                    f'{module.embed_dims} of {name}: choose another '
                    'last_heads and teacher.num_heads'
                )

    def _freeze_what_is_not_run(self) -> None:
        target, *later = self.backbone.blocks[self.block - 1 :]
        if self.head.reads_relations:
            for name, parameter in target.named_parameters():
                if not name.startswith(_BEFORE_RELATIONS):
                    parameter.requires_grad_(False)
        for module in later:
            module.requires_grad_(False)
        for name in self.backbone.closing_norms:
            if hasattr(self.backbone, name):
                getattr(self.backbone, name).requires_grad_(False)

    def train(self, mode: bool = True) -> 'TinyMIM':
        """Take the teacher along: it may have drop path."""
        super().train(mode)
        self.teacher.train(mode)
        return self

    def forward(
        self, inputs: Views, data_samples: list | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """MMEngine's entry point.

        Args:
            inputs (Tensor | List[Tensor]): See :meth:`loss`.
            data_samples (list, optional): Not used: no labels are needed.
            mode (str): ``loss`` or ``tensor``.

        Returns:
            Dict[str, Tensor] | Tensor: Losses, or tokens (B, E + N, C).

        Raises:
            RuntimeError: For another mode.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'tensor':
            return self.extract_feat(inputs)
        raise RuntimeError(f'mode is loss or tensor, got {mode!r}')

    def patches_of(self, inputs: Views) -> tuple[Tensor, Tensor]:
        """Cut the student's and the teacher's view into patches.

        Args:
            inputs (Tensor | List[Tensor]): See :meth:`loss`.

        Returns:
            Tuple[Tensor, Tensor]: (B, N, P) each; the same tensor if there is
            one view.

        Raises:
            ValueError: If there are more than two views, or images are not of
                the backbone's size.
        """
        if isinstance(inputs, Tensor):
            inputs = [inputs]
        if len(inputs) > 2:
            raise ValueError(
                "inputs are one view, or the student's and the "
                f"teacher's of the same crop; got {len(inputs)}"
            )
        for view in inputs:
            grid = self.backbone.grid_of(view)
            if grid != self.backbone.token_grid:
                raise ValueError(
                    f'images of {tuple(view.shape[2:])} make a grid of {grid} '
                    'tokens, the backbone was built for '
                    f'{self.backbone.token_grid}: set img_size of backbone '
                    'and teacher.backbone, or the crop of the pipeline'
                )
        patches = [self.backbone.patchify(view) for view in inputs]
        return patches[0], patches[-1]

    def extract_feat(self, inputs: Views) -> Tensor:
        """Tokens as far as the student was trained.

        For relations they are those that enter the projection to query, key
        and value of the target block, after its norm: the rest of the block is
        as it was initialised.

        Args:
            inputs (Tensor | List[Tensor]): (B, C, H, W), normalised, or two
                views, of which the student's is encoded.

        Returns:
            Tensor: (B, E + N, C).
        """
        patches, _ = self.patches_of(inputs)
        last = self.block - self.head.reads_relations
        (tokens,) = self.backbone.encode(patches, layers=[last], stop_early=True).layers
        if self.head.reads_relations:
            tokens = self.backbone.blocks[last].ln1(tokens)
        return tokens

    def loss(
        self,
        inputs: Views,
        data_samples: list | None = None,
        partition: TokenPartition | None = None,
    ) -> dict[str, Tensor]:
        """The training loss, TinyMIM section 3.

        Args:
            inputs (Tensor | List[Tensor]): (B, C, H, W), normalised; or the
                student's and the teacher's view, which show the same crop and
                may differ in colour.
            data_samples (list, optional): Not used: no labels are needed.
            partition (TokenPartition, optional): Who sees what; drawn by the
                mask generator by default, if there is one.

        Returns:
            Dict[str, Tensor]: What the head returns, scalars: ``loss_qk`` and
            ``loss_vv`` for TinyMIM's relations.
        """
        mine, theirs = self.patches_of(inputs)
        if partition is None and self.mask_generator:
            partition = self.mask_generator(len(mine), self.backbone.token_grid, mine.device)
        seen = shown = None  # all tokens
        if partition is not None:
            seen, shown = partition.visible, partition.teacher
        target = self._target(theirs, shown)
        student = self._student(mine, seen)
        # The student's tokens come first; without masks they are all.
        return self.head.loss(student, target[..., : student.shape[-2], :])

    def _target(self, patches: Tensor, token_ids: Tensor | None) -> Tensor:
        """(3, B, H, E + K, d), or features (B, E + K, C)."""
        if self.head.reads_relations:
            return self.teacher.query_key_value(patches, token_ids)
        (features,) = self.teacher(patches, token_ids)
        return features

    def _student(self, patches: Tensor, token_ids: Tensor | None) -> Tensor:
        """(3, B, H, E + K, d), or features (B, E + K, C)."""
        if self.head.reads_relations:
            qkv, _ = self.backbone.query_key_value(
                patches, self.block, token_ids=token_ids, num_heads=self.last_heads
            )
            return qkv
        (features,) = self.backbone.encode(
            patches, token_ids, layers=[self.block], stop_early=True
        ).layers
        return features
