from amd_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOnlyConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, without the parameters of frozen modules.

    Without ``paramwise_cfg`` MMEngine gives the optimiser all parameters,
    frozen or not; with one it leaves frozen ones out, with a warning each.

    Args:
        optim_wrapper_cfg (dict): As in MMEngine.
        paramwise_cfg (dict, optional): As in MMEngine.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        # Not empty, so that MMEngine looks at each parameter.
        super().__init__(optim_wrapper_cfg, paramwise_cfg or dict(bypass_duplicate=True))

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Add a module's parameters, if any of them is trained.

        Args:
            params (List[dict]): Groups of parameters, added to in place.
            module (nn.Module): The module.
            prefix (str): Its name.
            is_dcn_module (int | float, optional): See MMEngine.
        """
        if any(one.requires_grad for one in module.parameters()):
            super().add_params(params, module, prefix, is_dcn_module)
