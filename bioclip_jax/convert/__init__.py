"""Models in and out: open_clip, transformers, the Hub. `resolve` loads a MODEL in any form."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "export": ["export_model", "import_model", "write_model_directory"],
        "load": ["ModelBundle", "inherited", "resolve"],
        "locate": ["download_pair", "local_path", "model_files"],
        "pretrained": ["DEFAULT_MODEL", "MODEL_FORMS", "tags"],
        "published": ["PUBLISHED", "TRANSFORMS", "Transform"],
        "tensors": ["weights_fingerprint"],
        "weights": ["TAXA_FILE"],
    },
)
