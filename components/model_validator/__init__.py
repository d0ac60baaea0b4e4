"""ModelValidator: does the exported model load, agree with itself, and answer fast?"""
