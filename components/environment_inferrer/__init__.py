"""EnvironmentInferrer: environments for data that names none."""
