"""EnvironmentValidator: may these environments be trained on together?"""
