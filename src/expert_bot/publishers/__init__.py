"""Messages out: adapters of the Publisher and BusAdmin ports, one bus each; chosen in `app.py` only."""
