"""The code that a registered model runs. It stands alone: it imports nothing else of jabert."""
