"""What runs workflows in a process: claims, runs, beats. It decides when to call the schema and what user code to
run, never who owns what.
"""
