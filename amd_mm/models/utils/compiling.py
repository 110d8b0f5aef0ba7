"""``torch.compile`` of transformer blocks, in place."""

from mmaction.models.backbones.vit_mae import Block
from mmcv.cnn.bricks.drop import DropPath
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import nn

# Graphs of one block's code: for a shape, with gradient and without, and for
# a rate of drop path. Torch gives up after 8.
_MOST_GRAPHS = 64


def compile_blocks(*modules: nn.Module) -> int:
    """Compile every transformer block in some modules, in place.

    Blocks of one shape share a graph from PyTorch 2.5 on, so a model compiles
    a handful of them whatever its depth. Nothing is wrapped: names in
    ``state_dict`` stay as they are, and a run may be resumed with the other
    setting. (MMEngine's ``compile`` option puts ``_orig_mod`` into checkpoints
    and compiles the logging along with the step.) Compilation happens at the
    first call of a block and needs a C++ compiler on a CPU, Triton on a GPU.

    Args:
        *modules (nn.Module): In which to look.

    Returns:
        int: How many blocks there were.

    Raises:
        RuntimeError: If this torch cannot compile a module in place.
    """
    if not hasattr(nn.Module, 'compile'):
        raise RuntimeError(
            'compile_blocks=True needs torch 2.2 or later; set it to False or update torch'
        )
    blocks = [
        block
        for module in modules
        for block in module.modules()
        if isinstance(block, (Block, TransformerEncoderLayer))
    ]
    from torch._dynamo import config as limits  # imported here: seconds

    limits.cache_size_limit = max(limits.cache_size_limit, _MOST_GRAPHS)
    for block in blocks:
        for module in block.modules():
            if isinstance(module, DropPath):
                # MMPretrain's are numpy's, which breaks graphs.
                module.drop_prob = float(module.drop_prob)
        block.compile(dynamic=False)
    return len(blocks)
