"""Faults at every protocol step, judged from outside: nothing lost, nothing done twice."""
