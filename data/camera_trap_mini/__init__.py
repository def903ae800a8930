"""An embedded world of camera traps: planted ecology, and its photographs as procedural drawings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "burst": ["Burst", "draw_burst"],
        "species": ["SPECIES", "SpeciesTraits"],
        "ecology": ["BLANK", "PERSON", "Deployment", "Events", "World", "draw_world"],
        "export": ["write_world"],
        "sun": ["solar_hour", "sun_elevation"],
        "ground_truth": ["expected_rates", "truth"],
    },
)
