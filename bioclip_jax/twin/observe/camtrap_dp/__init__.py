"""Camtrap DP 1.0.2: read, write and check packages of camera-trap data."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "check": ["check_package", "find_problems"],
        "descriptor": ["SAMPLING_DESIGNS", "new_descriptor"],
        "fields": ["FIELDS", "FOREIGN_KEYS", "HUMAN_NAME", "MISSING", "PEOPLE", "PRIMARY_KEYS", "Field"],
        "package": ["MEDIA_FOLDER", "PROBABILITIES_FILE", "RELIABILITY_FILE", "Package"],
        "read": ["read_package", "with_all_fields"],
        "write": ["write_package"],
        "times": ["is_missing", "parse_times"],
    },
)
