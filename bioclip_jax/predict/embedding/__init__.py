"""What the verb embed is made of: what is known of images, vectors from a cache, and the formats."""
