"""The checks. Each module has CHECKS, a tuple of `tritone.diagnostics.doctor.check.Check`."""
