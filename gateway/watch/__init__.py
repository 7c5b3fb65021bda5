"""For monitoring: probes, metrics and traces. Imported by `gateway.app` and by the composition root."""
