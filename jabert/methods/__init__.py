"""The methods that make a classifier."""

__all__: list[str] = []
