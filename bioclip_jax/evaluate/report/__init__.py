"""A suite's results for people: a table and a picture, beside the published figures."""
