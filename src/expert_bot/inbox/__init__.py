"""Exactly one effect per event, whatever is duplicated, killed, frozen or cut off.

`entry`: the document's layout. `claims`: becoming its owner. `lease`, `heartbeats`: staying its owner. `protocol`: the state machine.
`work`: what a caller provides.
"""
