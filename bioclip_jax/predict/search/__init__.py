"""Similar images: an index on disk over LanceDB, and exact search on the device for small sets."""
