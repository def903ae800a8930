"""Processes, meshes, shardings and collectives."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batch_layout": [
            "concatenate_per_shard",
            "from_micro_batches",
            "is_primary_replica",
            "rows_of_process",
            "split_per_shard",
            "to_micro_batches",
        ],
        "collectives": ["Collectives"],
        "compilation": ["compile_lowered"],
        "initialize": ["all_processes", "allow_platform", "check_backend", "is_first_process"],
        "mesh": ["MeshConfig", "batch_sharding", "make_mesh", "replicated"],
        "sharding": ["ActivationSharding", "check_tensor", "parameter_shardings"],
    },
)
