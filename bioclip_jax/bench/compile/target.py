"""The GPUs that a program can be compiled for without having one, and their assumed rates."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax.experimental import topologies

from bioclip_jax.errors import UserError

GPUS_PER_MACHINE = 8

# XLA's options, by what computes the matrix products; they override the config's. "rewrite" turns products
# into cuBLASLt calls at once: bias and residual go into their epilogues, and rows are padded to multiples of
# 8. "cublas" are the default flags, with the autotuner, which needs a GPU, taken to prefer cuBLASLt to a
# Triton fusion for every product.
GEMM_OPTIONS = {
    "rewrite": ("xla_gpu_enable_triton_gemm=false",),
    "cublas": (
        "xla_gpu_enable_triton_gemm=true",
        "xla_gpu_experimental_autotune_backends=CUBLASLT_FISSION,CUBLASLT,NATIVE_EMITTER,BLOCK_LEVEL_EMITTER",
    ),
}

# XLA's GpuTargetConfigProto as text. What is the same for all targets are limits of CUDA.
_DESCRIPTION = """gpu_device_info {{ threads_per_block_limit: 1024 threads_per_warp: 32
shared_memory_per_block: 49152 shared_memory_per_core: {shared_per_core} threads_per_core_limit: 2048
core_count: {cores} fpus_per_core: {fpus} block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
block_dim_limit_z: 65535 memory_bandwidth: {bandwidth:.0f} l2_cache_size: {l2_cache}
clock_rate_ghz: {clock} device_memory_size: {memory_size} shared_memory_per_block_optin: {shared_per_block}
cuda_compute_capability {{ major: {major} }} registers_per_core_limit: 65536
registers_per_block_limit: 65536 }} platform_name: "CUDA" runtime_version {{ major: 13 }}
dnn_version_info {{ major: 9 minor: 10 }} device_description_str: "{name}" """


@dataclass(frozen=True)
class Rates:
    """Speeds to estimate times with: bytes/s of device memory, FLOP/s by kind, least seconds of a kernel."""

    bandwidth: float
    bf16: float
    fp8: float
    fp32: float
    attention: float
    attention_backward: float
    kernel: float


# Assumed rates on an H100 SXM: "ideal" has the data sheet's bandwidth and what the best kernels reach;
# "derated" is more cautious, and no kernel takes less than 2.5 us. fp8 is taken to double bf16's rate.
_IDEAL = Rates(3.35e12, 700e12, 1400e12, 50e12, 350e12, 300e12, 0.0)
_DERATED = Rates(0.85 * 3.35e12, 650e12, 1300e12, 50e12, 250e12, 200e12, 2.5e-6)


@dataclass(frozen=True)
class Target:
    """A GPU: data-sheet memory in bytes, its bandwidth in bytes/s, dense bf16 and fp32 peaks in FLOP/s.

    description: of the hardware, for XLA. Sources: NVIDIA's data sheets of the H100, H200 and A100.
    """

    name: str
    memory: float
    bandwidth: float
    peak: float
    peak_fp32: float
    description: str

    @property
    def rates(self) -> dict[str, Rates]:
        """Ideal and derated rates: those of an H100, in the ratio of the data sheets."""
        h100 = TARGETS["h100"]
        products, fp32 = self.peak / h100.peak, self.peak_fp32 / h100.peak_fp32
        return {
            name: Rates(
                bandwidth=rates.bandwidth * self.bandwidth / h100.bandwidth,
                bf16=rates.bf16 * products,
                fp8=rates.fp8 * products,
                fp32=rates.fp32 * fp32,
                attention=rates.attention * products,
                attention_backward=rates.attention_backward * products,
                kernel=rates.kernel,
            )
            for name, rates in (("ideal", _IDEAL), ("derated", _DERATED))
        }

    def devices(self, count: int) -> list[jax.Device]:
        """Return `count` devices to compile for, in machines of eight.

        Raises UserError if JAX's CUDA plugin is missing, or `count` does not fill whole machines.
        """
        if count > GPUS_PER_MACHINE and count % GPUS_PER_MACHINE:
            raise UserError(
                f"--devices is {count}, which does not fill machines of {GPUS_PER_MACHINE} GPUs; "
                f"give at most {GPUS_PER_MACHINE}, or a multiple of it"
            )
        machines, each = -(-count // GPUS_PER_MACHINE), min(count, GPUS_PER_MACHINE)
        try:
            topology = topologies.get_topology_desc(
                platform="cuda", target_config=self.description, topology=f"1x{machines}x{each}"
            )
        except NotImplementedError as error:
            raise UserError(
                "compiling for NVIDIA GPUs needs JAX's CUDA plugin, though no GPU; "
                "install it with: pip install 'bioclip-jax[cuda13]'"
            ) from error
        return topology.devices


def _hopper(name: str, bandwidth: float, memory_size: int) -> str:
    return _DESCRIPTION.format(
        name=name,
        bandwidth=bandwidth,
        memory_size=memory_size,
        cores=132,
        fpus=128,
        shared_per_core=233_472,
        shared_per_block=232_448,
        l2_cache=52_428_800,
        clock=1.98,
        major=9,
    )


_A100 = _DESCRIPTION.format(
    name="NVIDIA A100-SXM4-40GB",
    bandwidth=1.555e12,
    memory_size=42_331_013_120,
    cores=108,
    fpus=64,
    shared_per_core=167_936,
    shared_per_block=166_912,
    l2_cache=41_943_040,
    clock=1.41,
    major=8,
)

TARGETS = {
    "h100": Target(
        "H100 80GB",
        80e9,
        3.35e12,
        989e12,
        67e12,
        _hopper("NVIDIA H100 80GB HBM3", 3.35232e12, 84_929_347_584),
    ),
    "h200": Target(
        "H200 141GB", 141e9, 4.8e12, 989e12, 67e12, _hopper("NVIDIA H200", 4.8e12, 150_754_820_096)
    ),
    "a100-40gb": Target("A100 40GB", 40e9, 1.555e12, 312e12, 19.5e12, _A100),
}
