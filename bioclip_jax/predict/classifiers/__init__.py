"""Classifiers over the tree of life, custom labels and bins, with pybioclip's interface."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["BaseClassifier"],
        "custom_labels": [
            "CustomLabelsBinningClassifier",
            "CustomLabelsClassifier",
            "predict_classifications_from_list",
        ],
        "explanation": ["Explanation", "Node", "RankPrediction"],
        "learned": ["LearnedClassifier"],
        "labels": ["read_bins", "read_labels"],
        "recorder": [
            "PredictionRecorder",
            "attach_prediction_recorder",
            "save_recorded_predictions",
            "verify_recorder_path",
        ],
        "tree_of_life": ["TreeOfLifeClassifier", "predict_classification"],
    },
)
