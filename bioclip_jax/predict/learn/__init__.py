"""Classes of the user, learned from a few labeled photographs as a linear head on a model's vectors."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "familiarity": ["Familiarity", "fit_familiarity"],
        "head": ["LearnedHead", "is_head_folder", "open_head"],
        "learn": ["check_learning", "learn_head"],
        "photographs": ["labeled_images"],
    },
)
