"""Images: bytes of any kind to pixels, the random training crop, and open_clip's evaluation transform.

Training, evaluation and prediction all turn a picture upright by its EXIF orientation and scale 16-bit pixels
to 8; ReadOptions(exif="ignore") takes pictures as they are stored, as the peers do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "decoding": [
            "BadImage",
            "CAUSES",
            "OnTruncated",
            "ReadOptions",
            "decode",
            "open_image",
            "read_image",
            "to_rgb",
        ],
        "header": ["image_header"],
        "orientation": ["exif_segment"],
        "preprocess": ["OPENAI_MEAN", "OPENAI_STD", "Preprocess"],
        "recover": ["without_texts"],
        "training": ["ImageConfig", "TrainTransform"],
    },
)
