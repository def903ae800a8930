"""A suite's results for people: a table and a picture, beside the published figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "curves": ["draw_curves"],
        "plot": ["draw"],
        "rows": ["report_rows"],
        "table": ["write_markdown"],
        "terminal": ["describe_result", "describe_suite", "format_table"],
    },
)
