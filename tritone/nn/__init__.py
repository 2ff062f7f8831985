"""Neural modules: flow encoder, estimator, solver, vocoder. They know torch and nothing of serving."""
