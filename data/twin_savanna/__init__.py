"""An embedded world of the twin: an invented savanna of 27 real species, with their sources."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "terrain": ["HABITATS", "PATCHES", "Terrain", "draw_terrain"],
        "export": ["write_world"],
        "survey": ["draw_survey"],
    },
)
