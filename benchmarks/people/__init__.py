"""A model that is mapped, and its twin that is not."""
