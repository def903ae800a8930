"""Names, embeddings and similar images from image files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "devices": ["local_devices"],
        "embed": ["embed_files"],
        "embedder": ["Embedder", "OnBad", "load_ahead"],
        "encoder": ["Encoder"],
        "head": ["class_embeddings", "softmax"],
        "inputs": ["ImageFile", "find_images"],
        "model": ["Model", "load_model"],
        "pixels": ["ImageLike", "load_pixels"],
        "predict": ["predict_files"],
        "progress": ["track"],
        "rank": ["Rank"],
        "results": ["FORMATS"],
        "vector_cache": ["VectorCache"],
    },
)
