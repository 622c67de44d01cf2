"""What the training of any method shares: batches from the feature store, and state that survives a kill."""
