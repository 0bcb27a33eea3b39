"""Makes torchvision importable beside a CPU build of torch."""

import torch

# A Library takes its operators away when it is garbage-collected.
_libraries: list[torch.library.Library] = []


def ensure_torchvision() -> None:
    """Import torchvision, and where its compiled part does not load, go without its box operators.

    open_clip needs torchvision, and transformers imports it where it is installed. The torchvision
    0.28 of the package index is compiled for CUDA: beside a CPU build of torch its compiled part
    does not load, and the import ends in ``operator torchvision::nms does not exist``, since
    ``torchvision._meta_registrations`` registers shapes for ``nms`` and ``qnms`` all the same.
    Only then both are declared here, without an implementation, and the import is repeated. No
    encoder calls them: they suppress overlapping boxes in object detection. A call of
    ``torchvision.ops.nms`` still raises torchvision's own error.

    Call this before the first import of open_clip or of a model of transformers. It takes seconds,
    so only the code that needs an encoder does.

    Raises:
        RuntimeError: torchvision cannot be imported for any other reason.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        import torchvision  # noqa: F401
