"""What a training costs and what it does when memory runs out: `cost`, `ladder`, `fallbacks`, `resizing`."""
