"""MultiEnvExampleGen: one Examples artifact from several environments."""
