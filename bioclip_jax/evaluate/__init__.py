"""BioCLIP 2's evaluation protocols, one by one, as a suite, while training and over checkpoints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["evaluate_checkpoints"],
        "class_names": ["candidates"],
        "hook": ["EvaluationHook"],
        "protocols": ["protocol_of"],
        "results": ["check_results_folder"],
        "run": ["Evaluator", "evaluate_protocol", "evaluate_suite"],
        "suite": ["Location", "read_suite", "single"],
    },
)
