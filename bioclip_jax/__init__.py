"""BioCLIP 2 in JAX: hierarchical contrastive learning over the tree of life."""

import lazy_loader

__version__ = "0.1.0"

# Loaded on first use, because some import JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "errors": ["UserError"],
        "pipeline.images": ["ReadOptions"],
        "predict": ["Rank", "load_model"],
        "predict.classifiers": [
            "CustomLabelsBinningClassifier",
            "CustomLabelsClassifier",
            "LearnedClassifier",
            "PredictionRecorder",
            "TreeOfLifeClassifier",
            "attach_prediction_recorder",
            "predict_classification",
            "predict_classifications_from_list",
            "save_recorded_predictions",
            "verify_recorder_path",
        ],
        "predict.detections": ["find_crops"],
        "predict.learn": ["learn_head"],
    },
)
