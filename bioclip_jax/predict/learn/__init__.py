"""Classes of the user, learned from a few labeled photographs as a linear head on a model's vectors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "choose": ["choose_head"],
        "familiarity": ["Familiarity", "fit_familiarity"],
        "head": ["LearnedHead", "is_head_folder", "open_head"],
        "learn": ["check_learning", "group_photographs", "learn_head", "text_vectors"],
        "labels": ["Labels", "label_photographs"],
        "photographs": ["Photographs", "labeled_images", "read_photographs"],
    },
)
