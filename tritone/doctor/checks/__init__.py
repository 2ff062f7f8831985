"""The checks. Each module has CHECKS, a tuple of `tritone.doctor.check.Check`."""
