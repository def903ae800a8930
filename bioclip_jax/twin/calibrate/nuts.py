"""The posterior by the no-U-turn sampler (numpyro), in chains that run together and can be interrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from bioclip_jax.files import atomic_write, read_arrays

from .batch import Batch
from .fit import Fit, find_maximum
from .likelihood import Calibration

CHAINS = 4
_WARMUP = 200
# Steps of all chains between two writings of their state.
_BLOCK = 25
_TREE_DEPTH = 8
# Vehtari et al. (2021, Bayesian Anal. 16:667) advise both limits.
_MOST_R_HAT = 1.01
_LEAST_EFFECTIVE = 400
_MOST_DIVERGENT = 0.01


def fit_nuts(
    batch: Batch,
    draws: int,
    *,
    starts: int = 4,
    seed: int = 0,
    samples: int = 500,
    checkpoint: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Fit:
    """Fit by NUTS in coordinates in which Laplace's approximation is standard normal.

    samples: of each of the chains, after warm-up. checkpoint: file that holds the state of an interrupted
    call, from which the same call goes on; it is removed at the end. report: called with the steps done and
    their number. Converged if every split R̂ is at most 1.01, every effective sample size at least 400 and at
    most 1 % of the steps diverge.
    """
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    mode, covariance, found = find_maximum(batch, starts=starts, seed=seed)
    root = np.linalg.cholesky(covariance)
    u, divergent = sample_chains(
        batch.calibration,
        mode,
        root,
        samples,
        seed=seed,
        digest=_digest(batch.calibration, mode, root, samples, seed),
        checkpoint=checkpoint,
        report=report,
    )
    r_hat, effective = split_gelman_rubin(u), effective_sample_size(u)
    converged = bool(
        (r_hat <= _MOST_R_HAT).all()
        and (effective >= _LEAST_EFFECTIVE).all()
        and divergent.mean() <= _MOST_DIVERGENT
    )
    names = batch.calibration.names
    diagnostics: dict[str, Any] = {
        "maximum": found,
        "chains": CHAINS,
        "samples": CHAINS * samples,
        "divergent": int(divergent.sum()),
        "r_hat": dict(zip(names, map(float, r_hat), strict=True)),
        "effective": dict(zip(names, map(float, effective), strict=True)),
        "draws_of": "NUTS",
    }
    flat = u.reshape(-1, u.shape[-1])
    index = np.random.default_rng([seed, 3]).permutation(len(flat))
    chosen = flat[np.resize(index, draws)]
    return Fit(mode, covariance, chosen, converged, diagnostics)


def sample_chains(
    log_density: Callable[[Float[Array, " parameters"]], Float[Array, ""]],
    mode: Float[np.ndarray, " parameters"],
    root: Float[np.ndarray, "parameters parameters"],
    samples: int,
    *,
    seed: int = 0,
    digest: str = "",
    checkpoint: Path | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Float[np.ndarray, "chains samples parameters"], Bool[np.ndarray, "samples chains"]]:
    """Sample a density in coordinates z, mode + root z, and return the samples and the divergent steps.

    digest: of all that the samples depend on; a checkpoint with another one is not continued.
    """
    from numpyro.infer import NUTS

    with jax.enable_x64(True):

        def potential(z: jax.Array) -> jax.Array:
            return -log_density(jnp.asarray(mode) + jnp.asarray(root) @ z)

        # Laplace has set the scales; to learn them again would take more warm-up than it saves.
        kernel = NUTS(potential_fn=potential, adapt_mass_matrix=False, max_tree_depth=_TREE_DEPTH)
        keys = jax.random.split(jax.random.PRNGKey(seed), CHAINS)
        # Wider than the posterior, so that R̂ can tell of chains that do not mix.
        start = 1.5 * np.random.default_rng([seed, 7]).standard_normal((CHAINS, len(mode)))
        state = kernel.init(keys, _WARMUP, jnp.asarray(start), (), {})

        def step(state: Any, _: None) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            state = kernel.sample(state, (), {})  # of all chains, since init had a key for each
            return state, (state.z, state.diverging)

        block = jax.jit(lambda state: jax.lax.scan(step, state, None, length=_BLOCK))
        total = -(-(_WARMUP + samples) // _BLOCK)
        state, path, divergent = _resumed(checkpoint, digest, state)
        while len(path) < total:
            state, (z, diverging) = block(state)
            path.append(np.asarray(z))
            divergent.append(np.asarray(diverging))
            if checkpoint is not None:
                _save(checkpoint, digest, state, path, divergent)
            if report is not None:
                report(len(path) * _BLOCK, total * _BLOCK)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    kept = slice(_WARMUP, _WARMUP + samples)
    z = np.concatenate(path)[kept].swapaxes(0, 1)
    return mode + z @ root.T, np.concatenate(divergent)[kept]


def _digest(calibration: Calibration, *settings: Any) -> str:
    digest = hashlib.sha256(repr((calibration.names, settings)).encode())
    for leaf in jax.tree.leaves(calibration):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _save(checkpoint: Path, digest: str, state: Any, path: list, divergent: list) -> None:
    leaves = {f"leaf{number}": np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(state))}
    with atomic_write(checkpoint) as partial:
        np.savez(partial, digest=digest, path=np.stack(path), divergent=np.stack(divergent), **leaves)


def _resumed(checkpoint: Path | None, digest: str, state: Any) -> tuple[Any, list, list]:
    """Return the state, samples and divergent steps of an interrupted call with the same inputs."""
    if checkpoint is None or not checkpoint.exists():
        return state, [], []
    leaves, structure = jax.tree.flatten(state)
    try:
        file = read_arrays(checkpoint)
        if str(file["digest"]) != digest:
            return state, [], []
        saved = [
            jnp.asarray(file[f"leaf{number}"], jnp.asarray(leaf).dtype) for number, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, saved), list(file["path"]), list(file["divergent"])
    except (OSError, ValueError, KeyError):
        return state, [], []
