"""The table of transfer strategies: `table.py` is the script, the other modules are its parts."""
