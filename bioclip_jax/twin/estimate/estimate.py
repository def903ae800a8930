"""Occupancy, activity and density of the species in a Camtrap DP."""
