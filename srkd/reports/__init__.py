"""Reports: an HTML page of a run, and the model card of weights."""
