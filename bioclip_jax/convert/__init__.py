"""Weights in and out: open_clip, transformers, the Hub. `resolve` alone knows what a MODEL is."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fingerprint": ["weights_fingerprint"],
        "hub": ["export_model", "import_model", "write_model_directory"],
        "hub_files": ["download_pair"],
        "load": ["ModelBundle", "model_files", "resolve", "resolve_weights_file"],
        "pretrained": ["DEFAULT_MODEL", "repository", "tags"],
        "published": ["PUBLISHED", "TRANSFORMS", "Transform"],
        "weights": ["TAXA_FILE", "is_weights_file"],
    },
)
