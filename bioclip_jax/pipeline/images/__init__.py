"""Images: decoding, the random training crop, and open_clip's evaluation transform.

Training, evaluation and prediction all rotate images upright by their EXIF orientation and scale 16-bit
pixels to 8 bits; ReadOptions(exif="ignore") reads images as stored, as the peers do.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bad_image": ["BadImage"],
        "decoding": [
            "CAUSES",
            "OnTruncated",
            "decode",
            "image_header",
            "open_image",
            "read_image",
            "to_rgb",
        ],
        "exif": ["Exif", "read_exif"],
        "decoder_process": [
            "FrameReader",
            "VideoAbout",
            "VideoFile",
            "foreign_exif",
            "video_about",
            "video_frame",
        ],
        "file_part": ["open_part"],
        "formats": ["MissingLibrary", "foreign_kind"],
        "orientation": ["exif_segment"],
        "preprocess": ["OPENAI_MEAN", "OPENAI_STD", "Preprocess"],
        "read_options": ["ReadOptions"],
        "recover": ["without_texts"],
        "tiff": ["MOST_PAGES", "read_page", "tiff_pages"],
        "training": ["ImageConfig", "TrainTransform"],
    },
)
