"""The page: a model for people with a browser, and the same answers for programs."""
