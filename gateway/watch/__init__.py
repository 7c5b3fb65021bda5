"""For those who watch the service rather than ask it: probes, metrics, traces."""
