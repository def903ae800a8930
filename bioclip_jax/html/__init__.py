"""HTML pages and parts of pages: Jinja2 templates, one style sheet, number formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "formats": [
            "THUMBNAIL_SIDE",
            "data_size",
            "data_url",
            "number",
            "share",
            "thumbnail_url",
        ],
        "render": ["asset", "content_hash", "macros", "write_page"],
    },
)
