"""Memory, collectives and a roofline of a config's update, compiled for NVIDIA GPUs that need not be there.

XLA's GPU compiler runs on any Linux machine with JAX's CUDA plugin, given a description of the GPU. The times
are estimates from the compiled program and assumed rates; nothing is executed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["compile_table", "measure_compiled"],
        "target": ["GEMM_OPTIONS", "TARGETS"],
    },
)
