"""Evaluate models by BioCLIP 2's protocols: one protocol, a suite, during training, over checkpoints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["evaluate_checkpoints"],
        "class_names": ["candidates"],
        "evaluator": ["Evaluator", "evaluate_protocol", "evaluate_suite"],
        "hook": ["EvaluationHook"],
        "protocols": ["make_protocol"],
        "results": ["check_results_folder"],
        "suite": ["Location", "read_suite", "single_entry_suite"],
    },
)
