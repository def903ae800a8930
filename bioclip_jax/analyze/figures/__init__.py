"""Figures of the analyses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "curves": ["plot_curves"],
        "factor_panels": ["Panel", "draw_panels", "make_panel"],
        "factor_summary": ["draw_orthogonality", "draw_separability"],
        "tanglegram": ["draw_ranks", "draw_tanglegram"],
        "trait": ["LineUp", "MOST_PICTURES", "draw_components", "draw_lineup", "spread"],
    },
)
