"""One module per event family. A module that defines `FAMILY` is part of the contract; nothing else registers it."""
