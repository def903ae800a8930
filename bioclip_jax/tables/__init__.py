"""The table reader: CSV, TSV, semicolon-separated text and Parquet, plain or compressed, as Arrow columns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "delimited": ["fold_name", "read_delimited"],
        "encoding": ["DAMAGED", "possible_encodings", "uncompressed"],
        "reader": [
            "PATH_COLUMNS",
            "TAXON_COLUMNS",
            "find_file",
            "images_folder",
            "is_table",
            "lists_images",
            "path_column",
            "read_table",
            "shown_path",
            "table_row",
            "table_rows",
            "texts",
        ],
    },
)
