"""Memorization: does the model copy its training patches?"""
