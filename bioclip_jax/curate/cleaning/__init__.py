"""What does not belong into a training set: copies, near-duplicates, evaluation images, pictures of nothing, and
what a user's detectors find.
"""
