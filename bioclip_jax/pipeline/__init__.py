"""From shards to host batches, in an order that is a function of seed and step."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["DataConfig", "PREFIX", "REPLAY_STREAM", "ReplayConfig", "WithReplay", "train_batches"],
        "feed": ["device_prefetch"],
        "order": ["Order"],
        "sampling": ["Sampling", "epoch_samples", "make_order"],
    },
)
