"""From any known checkpoint to features of clips, with or without a config."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from amd_mm.checkpoints import load_into, read_checkpoint, to_amd_mm
from amd_mm.datasets.transforms import clips_for_testing
from amd_mm.models.backbones import VideoVisionTransformer
from amd_mm.models.utils import position_table
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from torch import Tensor, nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
_HEAD_WIDTH = 64  # of all published ViTs
_PATCH_WEIGHT = 'backbone.patch_embed.projection.weight'


class ArchitectureError(ValueError):
    """A model cannot be told from its weights or config, or not be run."""


@dataclass(frozen=True)
class ClipSampling:
    """Which frames of a video a model looks at.

    Args:
        frames (int): Of a clip.
        stride (int, optional): From one frame of a clip to the next; None is
            sparse sampling: one frame from each equal part of the video.
        clips (int): Clips of a video, evenly spaced; one is its middle.
        size (int): Height and width of a clip, pixels: the middle of the
            frame, after its shorter side was made as long.
    """

    frames: int = 16
    stride: int | None = 4
    clips: int = 1
    size: int = 224

    def pipeline(self, backend: str = 'pyav') -> list[dict]:
        """Transforms from a file name to a packed sample.

        Its ``inputs`` are (clips, C, frames, size, size), uint8, RGB.
        """
        return [
            dict(type='amd_mm.VideoInit', backend=backend),
            clips_for_testing(self.frames, self.stride, self.clips),
            dict(type='amd_mm.VideoDecode'),
            dict(type='mmaction.Resize', scale=(-1, self.size)),
            dict(type='mmaction.CenterCrop', crop_size=self.size),
            dict(type='mmaction.FormatShape', input_format='NCTHW'),
            dict(type='mmaction.PackActionInputs'),
        ]


def find_config(checkpoint: str) -> str | None:
    """The config that a training run left beside its checkpoints.

    Args:
        checkpoint (str): A checkpoint file.

    Returns:
        str, optional: The only ``.py`` file of its folder, if the folder is
        the work folder of a run (MMEngine leaves ``last_checkpoint`` there).
    """
    folder = Path(checkpoint).parent
    configs = sorted(folder.glob('*.py'))
    if len(configs) != 1 or not (folder / 'last_checkpoint').is_file():
        return None
    return str(configs[0])


def stride_of(cfg: Config, default: int | None = 4) -> int | None:
    """The frame stride that a config tests, or else trains, with.

    Args:
        cfg (Config): Of recognition or pre-training.
        default (int, optional): If it does not say.

    Returns:
        int, optional: None for sparse sampling.
    """
    for part in ('val', 'test', 'train'):
        loader = cfg.get(f'{part}_dataloader') or {}
        for transform in loader.get('dataset', {}).get('pipeline', []):
            name = str(transform.get('type', ''))
            if name.endswith('SparseSampleFrames'):
                return None
            if name.endswith('SampleFrames') and 'frame_interval' in transform:
                return transform['frame_interval']
    return default


def infer_backbone(
    state: Mapping[str, Tensor],
    frames: int | None = None,
    size: int | None = None,
    heads: int | None = None,
) -> dict[str, Any]:
    """The backbone that weights belong to.

    Widths, depth, patch and norms are in the shapes. Heads are not: they are
    64 wide in all published models. Clips have 16 frames of 224 x 224 unless
    a position table in the file says otherwise; others can be encoded all the
    same.

    Args:
        state (Mapping[str, Tensor]): Weights in our names.
        frames (int, optional): Of a clip, if the table leaves it open.
        size (int, optional): Of a frame, pixels, if the table leaves it open.
        heads (int, optional): Attention heads, if they are not 64 wide.

    Returns:
        Dict[str, Any]: Config of a ``VideoVisionTransformer``.

    Raises:
        ArchitectureError: If these are no weights of a video ViT, or
            something cannot be told; the message says what to give.
    """
    patch = state.get(_PATCH_WEIGHT)
    if patch is None or patch.ndim != 5:
        what = 'no video ViT' if patch is None else 'an image ViT'
        raise ArchitectureError(
            f'the checkpoint holds {what} (looked for {_PATCH_WEIGHT} with 5 dimensions)'
        )
    width, channels, tubelet, side, other_side = patch.shape
    if side != other_side:
        raise ArchitectureError(
            f'patches of {side}x{other_side} pixels are not square; there is no such backbone here'
        )
    if heads is None and width % _HEAD_WIDTH:
        raise ArchitectureError(
            f'tokens are {width} wide, which is no multiple of {_HEAD_WIDTH}, '
            'so the number of attention heads cannot be told from the '
            'weights: give it (--heads), or the config'
        )
    blocks = {
        int(found.group(1))
        for found in (re.match(r'backbone\.blocks\.(\d+)\.', name) for name in state)
        if found
    }
    if not blocks:
        raise ArchitectureError('the checkpoint has no transformer blocks')
    first = f'backbone.blocks.{min(blocks)}.'
    table = state.get('backbone.pos_embed')
    grid = _guess_grid(table, tubelet, side, frames, size)
    return dict(
        type='amd_mm.VideoVisionTransformer',
        img_size=grid[1] * side,
        patch_size=side,
        in_channels=channels,
        embed_dims=width,
        depth=len(blocks),
        num_heads=heads or width // _HEAD_WIDTH,
        mlp_ratio=state[f'{first}mlp.layers.0.0.weight'].shape[0] / width,
        qkv_bias=f'{first}attn.q_bias' in state,
        # Any value but 0 builds the parameters, which the file then fills.
        init_values=1.0 if f'{first}gamma_1' in state else 0.0,
        num_frames=grid[0] * tubelet,
        tubelet_size=tubelet,
        use_mean_pooling='backbone.fc_norm.weight' in state,
        **_table_kind(table, grid, width),
    )


def _guess_grid(
    table: Tensor | None, tubelet: int, side: int, frames: int | None, size: int | None
) -> tuple[int, int, int]:
    """Tokens along (time, height, width) that the model was made for."""
    usual = 16 // tubelet, 224 // side
    if table is None:
        return usual[0], usual[1], usual[1]
    tokens = table.shape[1]
    guesses = [(usual[0], round((tokens / usual[0]) ** 0.5))]
    if frames is not None and frames >= tubelet:
        time = frames // tubelet
        guesses.append((time, round((tokens / time) ** 0.5)))
    if size is not None and size >= side:
        guesses.append((tokens // (size // side) ** 2, size // side))
    for time, space in guesses:
        if time * space**2 == tokens:
            return time, space, space
    raise ArchitectureError(
        f"the file's position table is for {tokens} tokens, which are not "
        f'{guesses[-1][0]} times a square: give the frames of a clip that the '
        'model was trained on (--frames), or its config'
    )


def _table_kind(table: Tensor | None, grid: tuple[int, int, int], width: int) -> dict[str, Any]:
    """How the position table was made, if the file has one."""
    if table is None:
        return {}
    count = grid[0] * grid[1] * grid[2]
    for kind in ('sincos_1d', 'sincos_3d'):
        if kind == 'sincos_3d' and (width < 6 or table.shape[1] != count):
            continue
        # Of its own size: 1-D tables are the same for all grids.
        own = grid if table.shape[1] == count else (table.shape[1], 1, 1)
        made = position_table(own, width, kind)
        if torch.allclose(made, table.float().cpu(), atol=1e-3):
            return dict(pos_embed_type=kind)
    return dict(use_learnable_pos_emb=True)


def backbone_of(cfg: Config, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The backbone of a config, with the norm that the weights have.

    Args:
        cfg (Config): Of pre-training, recognition or detection.
        state (Mapping[str, Tensor]): Weights in our names.

    Returns:
        Dict[str, Any]: Config of a ``VideoVisionTransformer``.

    Raises:
        ArchitectureError: If the config has no video ViT.
    """
    backbone = dict((cfg.get('model') or {}).get('backbone') or {})
    name = str(backbone.get('type', 'none'))
    if name.split('.')[-1] not in ('VideoVisionTransformer', 'VisionTransformer'):
        raise ArchitectureError(
            f'{cfg.filename}: model.backbone is {name}, not a VideoVisionTransformer'
        )
    backbone.update(
        type='amd_mm.VideoVisionTransformer',
        use_mean_pooling='backbone.fc_norm.weight' in state,
        return_feat_map=False,
        drop_path_rate=0.0,
    )
    for key in ('pretrained', 'init_cfg'):
        backbone.pop(key, None)
    return backbone


class ClipEncoder(nn.Module):
    """An encoder with its normalisation: clips in, features out.

    Args:
        backbone (VideoVisionTransformer): The encoder, in evaluation mode.
        mean (Sequence[float]): Of each channel, for values up to 255.
        std (Sequence[float]): Of each channel.
    """

    mean: Tensor  # (C, 1, 1, 1), as is std
    std: Tensor

    def __init__(
        self,
        backbone: VideoVisionTransformer,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1, 1))
        self.eval()

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str,
        cfg: Config | None = None,
        frames: int | None = None,
        size: int | None = None,
        heads: int | None = None,
    ) -> 'ClipEncoder':
        """Read a checkpoint of any known format.

        Args:
            checkpoint (str): As for :func:`amd_mm.checkpoints.read_checkpoint`
                (file, Hugging Face folder or address).
            cfg (Config, optional): The model that it belongs to; inferred from
                the weights if None, with the mean and deviation of ImageNet.
                The other arguments are for that.
            frames (int, optional): See :func:`infer_backbone`.
            size (int, optional): See :func:`infer_backbone`.
            heads (int, optional): See :func:`infer_backbone`.

        Returns:
            ClipEncoder: On the CPU.

        Raises:
            CheckpointError: If it cannot be read, or does not fit the config.
            ArchitectureError: If the model cannot be told.
        """
        state = to_amd_mm(read_checkpoint(checkpoint)).state
        if cfg is None:
            backbone = infer_backbone(state, frames, size, heads)
            normalisation = {}
        else:
            backbone = backbone_of(cfg, state)
            normalisation = _normalisation_of(cfg)
        encoder = MODELS.build(backbone)
        load_into(encoder, state, fmt='amd_mm', name=checkpoint, logger='silent')
        return cls(encoder, **normalisation)

    @property
    def frames(self) -> int:
        """Frames of a clip that the position table is made for."""
        return self.backbone.token_grid[0] * self.backbone.tubelet_size

    @property
    def size(self) -> int:
        """Height of a frame that the position table is made for, pixels."""
        return self.backbone.token_grid[1] * self.backbone.patch_size

    def tokens(self, clips: Tensor) -> Tensor:
        """Tokens of clips.

        Args:
            clips (Tensor): (B, C, T, H, W), values up to 255.

        Returns:
            Tensor: (B, T', H', W', C): after the final norm of a pre-trained
            model; a fine-tuned one has none here.
        """
        clips = (clips - self.mean) / self.std
        grid = self.backbone.grid_of(clips)
        patches = self.backbone.patchify(clips)
        tokens = self.backbone.encode(patches, grid=grid).tokens
        assert tokens is not None  # not stopped after a layer
        return tokens.unflatten(1, grid)

    def pool(self, tokens: Tensor) -> Tensor:
        """Features of clips from their tokens.

        Args:
            tokens (Tensor): (B, T', H', W', C).

        Returns:
            Tensor: (B, C): their mean, after ``fc_norm`` if there is one.
        """
        mean = tokens.flatten(1, -2).mean(1)
        norm = self.backbone.fc_norm
        return mean if norm is None else norm(mean)

    def forward(self, clips: Tensor) -> Tensor:
        """Features (B, C) of clips (B, C, T, H, W), values up to 255."""
        return self.pool(self.tokens(clips))

    def check(self, sampling: ClipSampling) -> None:
        """Raise an ArchitectureError unless clips are whole patches."""
        frames, size = self.backbone.patch_shape[:2]
        if sampling.frames % frames or sampling.size % size:
            raise ArchitectureError(
                f'frames have to be a multiple of {frames} and the size of '
                f'{size}, as a patch has it; got {sampling.frames} and '
                f'{sampling.size}'
            )

    def encode_with(
        self, device: str, dtype: torch.dtype = torch.float32, keep_tokens: bool = False
    ) -> Callable[[Tensor], Tensor]:
        """Move to a device; a function for whole batches.

        Args:
            device (str): As for torch.
            dtype (torch.dtype): What the network computes with.
            keep_tokens (bool): Give tokens, not their mean.

        Returns:
            Callable[[Tensor], Tensor]: From clips (B, C, T, H, W), uint8, on
            the CPU, to (B, C) or (B, T', H', W', C), on the CPU: float16 if
            the network computes with that, else float32.
        """
        self.to(device)
        kind = torch.device(device).type
        kept = torch.float16 if dtype == torch.float16 else torch.float32

        @torch.inference_mode()
        def encode(clips: Tensor) -> Tensor:
            with torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
                values = self.tokens(clips.to(device).float())
            # The mean over many tokens, in float32.
            values = values.float()
            if not keep_tokens:
                values = self.pool(values)
            return values.to(kept).cpu()

        return encode

    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell weights apart."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def _normalisation_of(cfg: Config) -> dict[str, Sequence[float]]:
    preprocessor = cfg.model.get('data_preprocessor') or {}
    if preprocessor.get('mean') is None:
        return {}
    return dict(mean=preprocessor['mean'], std=preprocessor['std'])


def choose_device(name: str | None = None) -> str:
    """The device called so, or by default the accelerator if there is one.

    Raises:
        ArchitectureError: If torch cannot use it here.
    """
    name = name or get_device()
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArchitectureError(f'--device {name} cannot be used here: {reason}') from None
    return name


def is_config(path: str) -> bool:
    """Whether a path is one of a config file, by its ending."""
    return os.path.splitext(path)[1] in ('.py', '.json', '.yml', '.yaml')
