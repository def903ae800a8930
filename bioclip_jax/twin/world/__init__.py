"""Places, species and links of a twin: terrain, climate, species tables, observed and inferred links."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_twin"],
        "climate": ["FREEZING_K", "MONTH_LIMITS", "Climate", "Series", "climate_series"],
        "daylight": ["daylight_hours"],
        "links": ["Link", "LinkTable", "read_link_table", "read_links"],
        "patches": ["world_extent"],
        "proximity": ["Proximity", "infer_links", "link_scores", "relatives_scores"],
        "raster": ["Grid", "Raster", "read_raster", "write_raster"],
        "species": ["KINDS", "Species", "read_species"],
        "terrain": ["distance_m", "slope_degrees"],
        "toml_table": ["TomlTable", "read_toml"],
        "trophic": ["trophic_levels"],
        "twin": ["Barrier", "Extent", "Patch", "Twin", "read_twin", "write_twin"],
    },
)
