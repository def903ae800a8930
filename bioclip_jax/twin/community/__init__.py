"""A food web in patches: allometric trophic networks as differential equations, with a mass ledger."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "allometry": ["Allometry", "preferences"],
        "balance": ["Blueprint", "blueprint_of"],
        "ensemble": ["simulate_chunks", "simulate_ensemble"],
        "model": ["Community"],
        "processor": ["prepare_processor"],
        "rates": ["LEDGER", "Conditions", "arrhenius", "fluxes", "steady_conditions"],
        "snapshot": ["environment", "flows"],
        "trajectory": ["Trajectory", "ledger_residual", "simulate", "simulate_members"],
    },
)
