"""Names, embeddings and similar images from image files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "candidates": ["make_classifier"],
        "crop": ["Box"],
        "duplicates": ["find_duplicates"],
        "darwin_core": ["DWC"],
        "embed": ["embed_files", "read_texts"],
        "embedder": ["Embedder", "OnBad", "load_ahead"],
        "encoder": ["Encoder"],
        "inputs": ["ImageFile", "find_images"],
        "model": ["Model", "load_model", "local_devices"],
        "options": ["MEGADETECTOR", "PRECISIONS", "Precision", "PredictOptions"],
        "predict": ["predict_files"],
        "preprocess": ["ImageLike", "load_pixels"],
        "progress": ["track"],
        "rank": ["Rank"],
        "results": ["FORMATS"],
        "selection": ["UNKNOWN"],
        "vector_cache": ["VectorCache"],
        "zero_shot": ["class_embeddings", "softmax"],
    },
)
