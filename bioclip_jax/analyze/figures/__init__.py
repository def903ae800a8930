"""Figures of the analyses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "curves": ["plot_curves", "plot_training_curve"],
        "embedding_map": ["plot_embedding_map"],
        "factor_panels": ["Panel", "draw_panels", "make_panel"],
        "factor_summary": ["draw_orthogonality", "draw_separability"],
        "tanglegram": ["draw_ranks", "draw_tanglegram"],
        "trait": ["MOST_PICTURES", "TraitProjection", "draw_components", "draw_projection", "spread"],
    },
)
