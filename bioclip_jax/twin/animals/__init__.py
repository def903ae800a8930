"""Individuals in space: populations by the hour, and herds and hunts by the second."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "actors": ["STATES"],
        "cast": ["cast_of"],
        "landscape": ["Landscape", "generate_landscape"],
        "scene": ["EVENT_KINDS", "Scene", "simulate_scene"],
        "cells": ["Cells", "Grid", "neighbor_sum", "sort_into_cells"],
        "ecology": ["Ecology", "Habitat", "Life", "Selection"],
        "hour": ["LEDGER", "Population", "residual", "stocks"],
        "population": ["History", "populate", "simulate_population"],
        "keys": [
            "Words",
            "bits",
            "fold",
            "founder_identity",
            "newborn_identity",
            "normals",
            "seed_key",
            "threefry",
            "uniform",
            "uniforms",
        ],
        "traits": ["savanna_species"],
        "zones": ["Zones", "perturb", "polarization", "rotation", "turn_toward", "zone_direction"],
        "state": ["Animals", "found_animals", "place"],
    },
)
