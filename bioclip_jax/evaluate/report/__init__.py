"""Reports of evaluation results beside the published scores: terminal tables, Markdown and figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "figures": ["draw", "draw_curves"],
        "markdown": ["write_markdown"],
        "rows": ["report_rows"],
        "terminal": ["describe_result", "describe_suite", "format_table"],
    },
)
