"""Exactly one effect per event, whatever is duplicated, killed, frozen or cut off.

`entry`: the document's layout. `lease`: ownership of one document. `protocol`: the state machine over both.
"""
