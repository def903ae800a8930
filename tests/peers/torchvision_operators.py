"""Let torchvision import where its compiled operators do not load, as on a CPU build of torch.

open_clip and pybioclip use its transforms alone, but importing it asks for the operators' schemas.
"""

import torch


def declare() -> None:
    """Declare the two schemas if `import torchvision` misses them; without effect elsewhere."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        # A library undeclares its operators when it is collected.
        torch.library.torchvision_operators = library
