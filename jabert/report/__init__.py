"""What people read about a run: the model card and plots, drawn from records."""
