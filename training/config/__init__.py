"""An experiment as frozen dataclasses, one module per table, read from one TOML file.

Unknown keys are errors, values are checked where they are declared, and the resolved copy is saved
beside every run.
"""
