"""Ties to other frameworks, each in a module of its own that imports its framework only when it is used."""
