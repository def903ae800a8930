"""torchvision for the peers, also where its compiled operators do not fit the torch that is installed."""

from __future__ import annotations

import sys
from typing import Any

# An operator library's definitions last as long as the object.
_KEPT: list[Any] = []


def import_torchvision() -> None:
    """Import torchvision. A CPU build of torch lacks two of its operators, which no peer uses: they are declared.

    Errors: ImportError where torch or torchvision is not installed.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        import torchvision  # noqa: F401
