"""Expert Bot: CloudEvents in, answers with true numbers out."""

from typing import Final

__version__: Final = "0.1.0"
