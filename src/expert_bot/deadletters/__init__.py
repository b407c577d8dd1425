"""Dead letters kept where they can be looked at: a topic can only be drained, a collection can be browsed.

`marks`: why a message died, as its attributes tell. `record`: one letter. `archive`: letters in the store. `archiver`:
from the topic into the store. `reading`: what an operator sees.
"""
