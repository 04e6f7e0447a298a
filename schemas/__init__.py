"""The data that the packages exchange, each declared once: artefacts, settings, records.

Standard library only, so that every package can import it at no cost.
"""
