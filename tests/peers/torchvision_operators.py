"""Make torchvision importable without its compiled operators, which a CPU build of torch does not load.

open_clip and pybioclip use only its transforms, but importing it needs the operators' schemas.
"""

import torch


def declare() -> None:
    """Declare the two schemas if `import torchvision` fails without them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        # Kept, because a library removes its operators when it is garbage-collected.
        torch.library.torchvision_operators = library
