"""From a model and a volume to labels: engines, sliding window, preview. No torch unless the torch engine is used."""
