"""Whether a model or a training set may be used: scans, probes, locks and signatures."""
