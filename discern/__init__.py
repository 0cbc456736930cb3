"""What a Python program needs to use a Discern server: ``from discern.client import Client``."""
