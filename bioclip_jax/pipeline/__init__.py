"""From shards to host batches, in an order that is a function of seed and step."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["DataConfig", "PREFIX", "REPLAY_STREAM", "ReplayConfig", "WithReplay", "train_batches"],
        "order": ["Order"],
        "prefetch": ["DevicePrefetch"],
        "sampling": ["Sampling", "epoch_samples", "make_order"],
        "workers": ["exit_with_parent"],
    },
)
