"""What the backward pass of a block computes again instead of keeping it."""

from collections.abc import Callable
from typing import Any

import jax

from .options import Remat

__all__ = ["rematerialize"]

# Beside each block's input, which is 1 · width entries a token: qkv is 3 · width, mixed (what attention
# gives) and out_proj are 1 · width each, c_fc (before the GELU) is the MLP's width.
_SAVED = {
    "full": (),
    "attention": ("qkv", "mixed"),
    "dots": ("qkv", "out_proj", "c_fc"),
    "dots_attention": ("qkv", "mixed", "out_proj", "c_fc"),
}


def rematerialize(block: Callable[..., Any], remat: Remat, *, in_loop: bool) -> Callable[..., Any]:
    """`block` under a policy. `in_loop`: forward and backward run in loops of their own."""
    if remat == "none":
        return block
    saved = _SAVED[remat]
    policy = jax.checkpoint_policies.save_only_these_names(*saved)
    if "mixed" in saved:
        policy = jax.checkpoint_policies.save_from_both_policies(policy, _attention_of_cudnn)
    # In one straight program the compiler would find the second computation equal to the first, and keep it
    # instead.
    return jax.checkpoint(block, prevent_cse=not in_loop, policy=policy)


def _attention_of_cudnn(primitive: Any, *_: Any, **__: Any) -> bool:
    # Its output and its softmax statistics, which cannot be named from outside: without both it would run
    # again.
    return primitive.name.startswith("dot_product_attention_fwd")
