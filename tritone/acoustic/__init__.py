"""Neural modules: flow encoder, estimator, solver, vocoder; torch and nothing of serving."""
