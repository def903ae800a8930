"""Taxa, scientific names, captions, prompt templates and CLIP's tokenizer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "captions": [
            "CAPTION_FILES",
            "CaptionConfig",
            "DRAWN_TYPES",
            "MissingCaption",
            "PLAIN_TYPE",
            "captions_from_taxon",
            "complete_captions",
            "has_unknown_words",
            "taxon_from_captions",
        ],
        "names": [
            "INVISIBLE",
            "MISSING_PATTERN",
            "clean_text",
            "genus_and_epithet",
            "is_missing",
            "known_text",
            "known_value",
            "name_key",
            "without_author",
        ],
        "scientific_names": ["ScientificName", "YEAR", "fold", "parse_name"],
        "taxon": ["COMMON_SEPARATOR", "NAME_COLUMNS", "PREFIX", "RANKS", "Taxon", "row_scientific_name"],
        "templates": ["EVALUATION_TEMPLATES", "OPENAI_TEMPLATES"],
        "tokenizer": ["Tokenizer"],
    },
)
